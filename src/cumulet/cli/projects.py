"""`cumulet project`: the projects that the caller belongs to."""

from __future__ import annotations

from typing import Final

from cyclopts import App

from cumulet.cli.client import connect
from cumulet.cli.output import AS_TABLE, Columns, Listing, show

PROJECTS: Final = "/v1/projects"
COLUMNS: Final[Columns] = {"NAME": lambda one: one["id"]}
app = App(name="project")


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List your projects."""
    show(connect().list(PROJECTS, member="projects"), listing, COLUMNS)
