"""How somebody signs in: their first password, another one, and a second factor."""

from __future__ import annotations

import pyotp
import segno
from markupsafe import Markup

from cumulet.projects.password_operations import (
    add_second_factor,
    change_password,
    get_sign_in,
    join,
    remove_second_factor,
)
from cumulet.projects.password_wire import AddSecondFactor, ChangePassword, Join, RemoveSecondFactor
from cumulet.web.door import refuse_plain, session_cookie, why_plain
from cumulet.web.site import form, page
from cumulet.web.visit import Gone, Shown, Visit

ISSUER = "Cumulet"


@page("/join", is_open=True)
def join_page(visit: Visit) -> Shown:
    """Ask for the code of an invitation and a password, where nobody can listen."""
    return visit.show("join.html", plain=why_plain(visit.origin))


@form("/join", on=join_page, is_open=True)
def take_invitation(visit: Visit) -> Gone:
    """Become a user, signed in."""
    refuse_plain(visit.origin)
    data = Join(
        code=visit.given("invitation"),
        password=visit.typed("password"),
        first_name=visit.given("firstName"),
        last_name=visit.given("lastName"),
    )
    return Gone("/account", (session_cookie(visit.ask(join, data=data).session),))


@page("/account")
def account(visit: Visit) -> Shown:
    """Show how they sign in, and a new secret for an authenticator."""
    secret = visit.given("totpSecret") or pyotp.random_base32()
    uri = pyotp.TOTP(secret).provisioning_uri(name=visit.profile.email_address, issuer_name=ISSUER)
    picture = Markup(segno.make(uri, micro=False).svg_inline(scale=4, light="#fff"))  # noqa: S704 - a drawing of ours
    return visit.show("account.html", ways=visit.ask(get_sign_in), secret=secret, picture=picture)


@form("/account/password", on=account)
def set_password(visit: Visit) -> Gone:
    """Set another password."""
    data = ChangePassword(password=visit.typed("password"), current_password=visit.typed("currentPassword"))
    visit.ask(change_password, data=data)
    return Gone("/account")


@form("/account/second-factor", on=account)
def add(visit: Visit) -> Shown:
    """Add an authenticator, and show the recovery codes."""
    data = AddSecondFactor(
        current_password=visit.typed("currentPassword"),
        totp_secret=visit.given("totpSecret"),
        code=visit.given("code"),
    )
    return visit.show("recovery_codes.html", codes=visit.ask(add_second_factor, data=data).recovery_codes)


@form("/account/second-factor/remove", on=account)
def remove(visit: Visit) -> Gone:
    """Ask for no code any more."""
    data = RemoveSecondFactor(current_password=visit.typed("currentPassword"))
    visit.ask(remove_second_factor, data=data)
    return Gone("/account")
