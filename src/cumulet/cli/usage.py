"""`cumulet usage`: what a project used and spent."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from cumulet.cli.client import Client, Json, connect
from cumulet.cli.output import Columns, aligned, harmless, money, show_data, write
from cumulet.cli.words import Project
from cumulet.errors import Invalid

USAGE: Final = "/v1/projects/{}/usage"
SPEND: Final = "/v1/projects/{}/spend"


def since(row: Json) -> str:
    """Write when a row's time begins, by UTC as days and months are."""
    return datetime.fromisoformat(row["startTime"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


COLUMNS: Final[Columns] = {
    "FROM (UTC)": since,
    "KIND": lambda row: row["kind"].replace("_", " "),
    "NAME": lambda row: row["id"],
    "LABEL": lambda row: row["label"],
    "ITEM": lambda row: row["item"],
    "QUANTITY": lambda row: f"{Decimal(row['quantity']['value']):.2f} {row['unit']}s",
    "PRICE": lambda row: row["price"]["value"],
    "COST": lambda row: money(row["amount"]),
}
SHOWN_BY: Final = {
    "hour": ["FROM (UTC)"],
    "day": ["FROM (UTC)"],
    "month": ["FROM (UTC)"],
    "resource": ["KIND", "NAME"],
    "label": ["LABEL"],
    "item": ["ITEM", "QUANTITY", "PRICE"],
}


def usage(
    *,
    by: str = "resource",
    label: str = "",
    month: str = "",
    output: Annotated[Literal["table", "csv", "json", "yaml"], Parameter(name=["--output", "-o"])] = "table",
    project: Project = "default",
) -> None:
    """Show what the project used and spent, by default in this month so far.

    :param by: By what it is added up: some of hour, day, month, resource, item, label, such as day,resource.
    :param label: The key of VMs' metadata to add up by, with label among --by.
    :param month: The month, such as 2026-11; none for the one that is under way.
    :param output: What to print: a table, CSV for spreadsheets, or the API's answer.
    """
    client = connect()
    words = [word.strip() for word in by.split(",")]
    named = {"label": label} if label else {}
    answer = client.get(USAGE, project, by=words, **named, **time_of(month))
    if output in {"json", "yaml"}:
        show_data(answer, output)
    elif output == "csv":
        write(as_csv(answer["rows"]))
    else:
        write(aligned(table(answer, words)))
        if not month:
            write(forecast(client, project))


def time_of(month: str) -> dict[str, str]:
    """Read a month as the time that the API is asked for; Invalid."""
    if not month:
        return {}
    found = re.fullmatch(r"(20[0-9]{2})-(0[1-9]|1[0-2])", month)
    if not found:
        raise Invalid.field("--month", month, "a year and a month, such as 2026-11")
    year, number = int(found[1]), int(found[2])
    start = datetime(year, number, 1, tzinfo=UTC)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return {"startTime": start.isoformat(), "endTime": end.isoformat()}


def table(answer: Json, by: Sequence[str]) -> list[tuple[str, ...]]:
    """Lay usage out for people, with what it comes to."""
    headings = [*dict.fromkeys(heading for word in by for heading in SHOWN_BY[word]), "COST"]
    rows = [tuple(COLUMNS[heading](row) for heading in headings) for row in answer["rows"]]
    total = ("total", *[""] * (len(headings) - 2), money(answer["total"]))
    return [tuple(headings), *rows, total]


def as_csv(rows: Sequence[Json]) -> str:
    """Write usage for spreadsheets, which compute nothing of it: exact amounts, a column for each member."""
    names = ("startTime", "endTime", "kind", "id", "label", "item", "unit", "quantity", "price", "amount")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        cells = (row[name] for name in names)
        writer.writerow([cell["value"] if isinstance(cell, dict) else harmless(cell) for cell in cells])
    return text.getvalue()


def forecast(client: Client, project: str) -> str:
    """Say what the month will come to."""
    spend = client.get(SPEND, project)
    parts = (
        f"this month so far {money(spend['amount'])}",
        f"an hour costs {money(spend['hourlyRate'])} as things are",
        f"the month will come to {money(spend['forecast'])}",
    )
    return f"{', '.join(parts)}\n"
