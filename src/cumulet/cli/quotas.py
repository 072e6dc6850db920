"""`cumulet quota`: how much a project may have, and has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.client import connect
from cumulet.cli.output import AS_TABLE, Columns, Listing, show
from cumulet.cli.words import Project, identifier

if TYPE_CHECKING:
    from cyclopts import Token

QUOTAS: Final = "/v1/projects/{}/quotas"
NONE: Final = "none"
QUOTA: Final = "/v1/quotas/{}/{}"
COLUMNS: Final[Columns] = {
    "NAME": lambda one: one["name"],
    "USED": lambda one: str(one["used"]),
    "LIMIT": lambda one: "none" if one["limit"] is None else str(one["limit"]),
    "SET": lambda one: "for this project" if one["own"] else "for all",
}


def whole_or_none(_: object, tokens: Sequence[Token]) -> str:
    """Read digits, or the word for no limit."""
    given = tokens[0].value
    if given != NONE and not re.fullmatch("[0-9]{1,9}", given):
        raise ValueError(f"{given!r} is not accepted; expected a whole number, or {NONE!r} for no limit")
    return given


Limit = Annotated[
    str,
    Parameter(converter=whole_or_none, help="The most that the project may have, or `none` for no limit."),
]
Name = Annotated[str, identifier("Of what, as `cumulet quota show` names it.")]

app = App(name="quota")


@app.command(name="show", alias=("list", "ls"))
def show_(*, listing: Listing = AS_TABLE, project: Project = "default") -> None:
    """Show how much the project may have of each thing, and has."""
    show(connect().get(QUOTAS, project)["quotas"], listing, COLUMNS, name="name")


@app.command(name="set")
def set_(
    name: Name,
    limit: Limit,
    /,
    *,
    project: Project = "default",
) -> None:
    """Set how much a project may have; what it has beyond that stays (operator)."""
    body = {"unlimited": True} if limit == NONE else {"limit": int(limit)}
    connect().put(QUOTA, project, name, body=body)


@app.command
def unset(name: Name, /, *, project: Project = "default") -> None:
    """Have the limit for all projects count for this one again (operator)."""
    connect().delete(QUOTA, project, name)
