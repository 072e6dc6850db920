"""Where a command line is let in by who is signed in: `cumulet login --web` opens it."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

from cumulet.errors import Invalid
from cumulet.projects.login_code_operations import create_login_code
from cumulet.projects.session_wire import NewLoginCode
from cumulet.web import rendering
from cumulet.web.site import form, page
from cumulet.web.visit import Shown, Visit


@page("/authorize")
def authorize(visit: Visit) -> Shown:
    """Ask whether it shall be."""
    return visit.show("authorize.html", port=port_of(visit))


@form("/authorize", on=authorize)
def agree(visit: Visit) -> Shown:
    """Send the browser to the command, on the machine that it is on, with a code."""
    code = visit.ask(create_login_code, data=NewLoginCode(challenge=visit.given("challenge"))).code
    there = urlencode({"code": code, "state": visit.given("state")})
    url = f"http://127.0.0.1:{port_of(visit)}/?{there}"
    return Shown(rendering.render("authorized.html", url=url), HTTPStatus.OK)


def port_of(visit: Visit) -> int:
    """Read at which port the command listens; Invalid."""
    port = visit.given("port")
    if not (port.isascii() and port.isdecimal() and 1024 <= int(port) < 65536):  # noqa: PLR2004 - those of everybody
        raise Invalid.field("port", port, "the one that `cumulet login --web` listens at")
    return int(port)
