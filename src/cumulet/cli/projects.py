"""`cumulet project`: the projects that the caller belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cyclopts import App

from cumulet.cli.client import Client, Json, connect
from cumulet.cli.output import AS_TABLE, Columns, Listing, show

COLUMNS: Final[Columns] = {"NAME": lambda one: one["id"]}
app = App(name="project")


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List your projects."""
    show(list(all_projects(connect())), listing, COLUMNS)


def all_projects(client: Client) -> Iterator[Json]:
    """Read all pages of the caller's projects."""
    token = ""
    while True:
        page = client.get("/v1/projects", pageToken=token, pageSize=1000)
        yield from page["projects"]
        token = page["pageToken"]
        if not token:
            return
