"""`cumulet user`: who uses this cloud, for its operators; and how somebody who was invited begins."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from cumulet.cli.client import connect
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Json, Listing, local_time, show, show_one
from cumulet.cli.several import each
from cumulet.cli.words import identifier

USERS: Final = "/v1/users"
COLUMNS: Final[Columns] = {
    "E-MAIL": lambda one: one["emailAddress"],
    "NAME": lambda one: f"{one['firstName']} {one['lastName']}".strip(),
    "STATE": lambda one: one["state"],
    "ROLE": lambda one: one["role"],
}
MORE: Final[Columns] = {"ID": lambda one: one["id"]}
INVITATION: Final[Columns] = {
    "invited": lambda one: one["emailAddress"],
    "code": lambda one: one["code"],
    "good until": lambda one: local_time(one["expireTime"]),
    "in a browser": lambda one: one["url"],
    "or by": lambda one: f"cumulet user accept {one['code']}",
}
ACCEPTED: Final[Columns] = {
    "user": lambda one: one["user"]["emailAddress"],
    "API key": lambda one: one["apiKey"]["key"],
}
UserRole = Literal["none", "auditor", "operator"]
Email = Annotated[str, identifier("The user's e-mail address.")]
Emails = Annotated[str, Parameter(name="MORE"), identifier("Further users.")]
app = App(name="user", default_parameter=OPTIONS)


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List the users of this cloud."""
    show(connect().list(USERS, member="users"), listing, COLUMNS, more=MORE, name="emailAddress")


@app.command
def invite(email: Email, /, *, role: UserRole = "none", output: Format = "table") -> None:
    """Invite a person, and print the code to give them: it lets one person in, once.

    :param role: What they may do in the whole cloud: auditors look at everything, operators run it.
    """
    answer = connect().post(USERS, body={"emailAddress": email, "role": role.upper()})
    show_invitation(answer["invitation"], output)


def show_invitation(invitation: Json, output: Format) -> None:
    """Print what is to be passed on to somebody who was invited."""
    show_one(invitation, output, INVITATION, name="code")


@app.command
def accept(code: str, /, *, first_name: str = "", last_name: str = "", output: Format = "table") -> None:
    """Become a user of the cloud that CUMULET_URL names, and print your API key: it is told only now.

    :param code: What you were given by who invited you.
    """
    body = {"code": code, "firstName": first_name, "lastName": last_name}
    answer = connect().post("/v1/invitations/accept", body=body)
    show_one({**answer, "id": answer["apiKey"]["key"]}, output, ACCEPTED)


@app.command
def role(email: Email, role: UserRole, /) -> None:
    """Change what a user may do in the whole cloud."""
    connect().patch(f"{USERS}/{{}}", email, body={"role": role.upper()})


@app.command
def reset(email: Email, /, *, output: Format = "table") -> None:
    """Take a user's password and second factor, sign their browsers out, and print the code to set a password anew.

    Their API keys stay.
    """
    show_invitation(connect().post(f"{USERS}/{{}}/reset", email), output)


@app.command
def suspend(email: Email, /, *more: Emails) -> None:
    """Suspend users: their keys open nothing until they are resumed."""
    client = connect()
    each((email, *more), lambda one: client.post(f"{USERS}/{{}}/suspend", one))


@app.command
def resume(email: Email, /, *more: Emails) -> None:
    """Let suspended users in again."""
    client = connect()
    each((email, *more), lambda one: client.post(f"{USERS}/{{}}/resume", one))


@app.command(alias="rm")
def remove(email: Email, /, *more: Emails) -> None:
    """Remove users with their keys and roles; what they have made stays."""
    client = connect()
    each((email, *more), lambda one: client.delete(f"{USERS}/{{}}", one))
