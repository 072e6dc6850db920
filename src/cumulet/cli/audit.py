"""`cumulet audit`: who asked for what, and what came of it."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from cumulet.cli.client import Client, Query, connect
from cumulet.cli.output import (
    AS_TABLE,
    OPTIONS,
    Columns,
    Json,
    Listing,
    harmless,
    json_text,
    local_time,
    show,
    write,
)
from cumulet.cli.words import Count, Instant, identifier

AUDIT: Final = "/v1/audit"
PAGE: Final = 1000
COLUMNS: Final[Columns] = {
    "TIME": lambda one: local_time(one["createTime"]),
    "USER": lambda one: one["user"],
    "ADDRESS": lambda one: one["address"],
    "OPERATION": lambda one: one["operation"],
    "PROJECT": lambda one: one["projectId"],
    "TARGET": lambda one: one["target"],
    "OUTCOME": lambda one: " ".join(filter(None, [one["outcome"], one["reason"]])),
    "COUNT": lambda one: str(one["count"]),
}
MORE: Final[Columns] = {
    "LAST TIME": lambda one: local_time(one["lastTime"]),
    "KEY": lambda one: one["apiKeyId"],
}
app = App(name="audit", default_parameter=OPTIONS)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which entries are meant."""

    user: str = ""
    """Only what this user asked for, by e-mail address."""
    project: (
        Annotated[str, identifier("Only what concerns this project.", "/v1/projects", "projects")] | None
    ) = None
    operation: str = ""
    """Only this operation, such as create_vm."""
    outcome: str = ""
    """Only what ended so, such as OK or PERMISSION_DENIED."""
    refused: bool = False
    """Only what was refused."""
    since: Instant | None = None
    """Only what began then or later."""
    until: Instant | None = None
    """Only what began before."""

    def query(self) -> Mapping[str, Query]:
        """Say it as the API is asked."""
        words = {
            "user": self.user,
            "projectId": self.project or "",
            "operation": self.operation,
            "outcome": self.outcome,
            "isRefused": "true" if self.refused else "",
            "since": self.since.isoformat() if self.since else "",
            "until": self.until.isoformat() if self.until else "",
        }
        return {name: value for name, value in words.items() if value}


ALL: Final = Which()


@app.command(name="list", alias="ls")
def list_(
    *,
    which: Which = ALL,
    most: Annotated[Count, Parameter(name="--limit")] = 100,
    listing: Listing = AS_TABLE,
) -> None:
    """List the newest entries: changes that were made or refused, and looks that were refused.

    :param most: How many entries at most.
    """
    show(list(islice(entries(connect(), which), most)), listing, COLUMNS, more=MORE)


@app.command
def export(
    *,
    which: Which = ALL,
    output: Annotated[Literal["csv", "json"], Parameter(name=["--output", "-o"])] = "csv",
) -> None:
    """Print all entries, newest first, as CSV or as JSON with an entry a line.

    :param output: What to print.
    """
    found = entries(connect(), which)
    if output == "json":
        for one in found:
            write(json_text(one, indent=0))
    else:
        write_csv(found)


def write_csv(found: Iterator[Json]) -> None:
    """Write a table for spreadsheets, which compute nothing of it."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    for number, one in enumerate(found):
        if not number:
            table.writerow(one)
        table.writerow(harmless(str(value)) for value in one.values())


def entries(client: Client, which: Which) -> Iterator[Json]:
    """Give all entries, a page at a time."""
    token = ""
    while True:
        page = client.get(AUDIT, pageSize=PAGE, pageToken=token, **which.query())
        yield from page["entries"]
        token = page["pageToken"]
        if not token:
            return
