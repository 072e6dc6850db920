"""Signing in with a password as JSON; no version of the contract has it."""

from __future__ import annotations

from datetime import datetime

from cumulet.projects.people_wire import Name
from cumulet.wire import Wire


class SignIn(Wire):
    """Who signs a browser in: `code` is one of their authenticator or a recovery code, if they have such."""

    email_address: str
    password: str
    code: str = ""


class Join(Wire):
    """The code of an invitation, whose it is, and the password that they choose."""

    code: str
    password: str
    first_name: Name = ""
    last_name: Name = ""


class ChangePassword(Wire):
    """The new password; the current one is asked for where there is one."""

    password: str
    current_password: str = ""


class AddSecondFactor(Wire):
    """The secret that an authenticator was given, a code that it makes, and the user's password."""

    current_password: str
    totp_secret: str
    code: str


class RecoveryCodes(Wire):
    """Codes that do instead of an authenticator's, each once; only this answer contains them."""

    recovery_codes: list[str]


class RemoveSecondFactor(Wire):
    """The user's password."""

    current_password: str


class SignInAnswer(Wire):
    """How a user can sign in at a browser."""

    has_password: bool
    has_second_factor: bool
    recovery_codes_left: int
    set_time: datetime | None
    """When the password was set."""
