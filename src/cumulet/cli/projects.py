"""`cumulet project`: the projects that the caller belongs to."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App

from cumulet.cli.client import connect
from cumulet.cli.output import AS_TABLE, Columns, Listing, show
from cumulet.cli.words import identifier

PROJECTS: Final = "/v1/projects"
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
