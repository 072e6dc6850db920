"""`cumulet project`: the projects that the caller belongs to."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.client import connect
from cumulet.cli.output import AS_TABLE, Columns, Listing, money, show, write
from cumulet.cli.words import Project, identifier

PROJECTS: Final = "/v1/projects"
SPEND: Final = "/v1/projects/{}/spend"
SPEND_LIMIT: Final = "/v1/projects/{}/spend-limit"
NONE: Final = "none"
COLUMNS: Final[Columns] = {"NAME": lambda one: one["id"]}
app = App(name="project")


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List your projects."""
    show(connect().list(PROJECTS, member="projects"), listing, COLUMNS)


@app.command
def leave(project: Annotated[str, identifier("The project.", PROJECTS, "projects")], /) -> None:
    """Leave a project: your access to it ends, what you have made there stays."""
    connect().post(f"{PROJECTS}/{{}}/leave", project)


@app.command
def limit(
    amount: Annotated[
        str, Parameter(help="The most for a month, or `none` for no limit; without it: show.")
    ] = "",
    /,
    *,
    stop_vms: bool = False,
    project: Project = "default",
) -> None:
    """Show or set what the project may spend in a month; at 80 % its journal warns, and then nothing more is created.

    :param stop_vms: Stop its VMs too when that is reached; they cost on all the same.
    """
    client = connect()
    if amount:
        body = {"limit": None if amount == NONE else {"value": amount}, "stopsVms": stop_vms}
        spend = client.put(SPEND_LIMIT, project, body=body)
    else:
        spend = client.get(SPEND, project)
    most = f" of {money(spend['limit'])}" if spend["limit"] else ""
    then = ", then its VMs are stopped" if spend["stopsVms"] else ""
    write(f"{money(spend['amount'])}{most} spent in this month{then}\n")
