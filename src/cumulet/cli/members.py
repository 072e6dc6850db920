"""`cumulet member`: who belongs to a project."""

from __future__ import annotations

from typing import Final, Literal

from cyclopts import App

from cumulet.cli.client import Client, connect
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Listing, show
from cumulet.cli.several import each
from cumulet.cli.users import Email, Emails, show_invitation
from cumulet.cli.words import Project
from cumulet.errors import NotFound

PROJECT: Final = "/v1/projects/{}"
COLUMNS: Final[Columns] = {
    "E-MAIL": lambda one: one["userEmail"],
    "ROLE": lambda one: one["role"],
    "STATE": lambda one: one["state"],
}
MORE: Final[Columns] = {"ID": lambda one: one["userId"]}
Role = Literal["viewer", "editor", "owner"]
app = App(name="member", default_parameter=OPTIONS)


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE, project: Project = "default") -> None:
    """List who belongs to the project, and as what."""
    members = connect().get(f"{PROJECT}:list-permissions", project)["projectPermissions"]
    show(members, listing, COLUMNS, more=MORE, name="userEmail")


@app.command
def add(
    email: Email, role: Role = "editor", /, *, output: Format = "table", project: Project = "default"
) -> None:
    """Add a member; for somebody who is new to this cloud, print the code to give them.

    :param role: Viewers look, editors change things, owners decide who belongs to the project.
    """
    set_role(connect(), project, email, role, output)


@app.command
def role(email: Email, role: Role, /, *, output: Format = "table", project: Project = "default") -> None:
    """Give a member another role; for somebody who has not accepted yet, print the code that counts from now on."""
    client = connect()
    members = client.get(f"{PROJECT}:list-permissions", project)["projectPermissions"]
    if email.lower() not in {one["userEmail"] for one in members}:
        known = [one["userEmail"] for one in members]
        raise NotFound.named(f"member of project {project!r}", email, known)
    set_role(client, project, email, role, output)


def set_role(client: Client, project: str, email: str, role: Role, output: Format) -> None:
    """Make somebody what the command says, and print their invitation if they get one."""
    body = {"userEmail": email, "role": role.upper()}
    answer = client.post(f"{PROJECT}/add-user-permission", project, body=body)
    if "invitation" in answer:
        show_invitation(answer["invitation"], output)


@app.command(alias="rm")
def remove(email: Email, /, *more: Emails, project: Project = "default") -> None:
    """Take members out of the project; what they have made stays."""
    client, path = connect(), f"{PROJECT}/remove-user-permission"
    each((email, *more), lambda one: client.post(path, project, body={"userEmail": one}))
