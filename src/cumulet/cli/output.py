"""How answers are printed: aligned text for people, the API's own JSON or YAML for programs, names for shells."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from cyclopts import Parameter

Json = dict[str, Any]
Columns = Mapping[str, Callable[[Json], str]]
"""What people are shown of a thing: headings, and how to write what stands under them."""
Format = Annotated[
    Literal["table", "json", "yaml", "name"],
    Parameter(name=["--output", "-o"], help="What to print: a table, the API's answer, or names alone."),
]
OPTIONS: Final = Parameter(negative=(), show_default=lambda value: str(value) if value else None)
"""How options are: no `--no-…` beside a flag, and a default is shown where there is something to show."""
Project = Annotated[str, Parameter(env_var="CUMULET_PROJECT", help="The project.")]
CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters that would speak to the terminal; a guest or a colleague may have written them."""


def show(things: Sequence[Json], format: Format, columns: Columns, *, name: str = "id") -> None:
    """Print a list of things; `name` is the member that names one."""
    if format == "name":
        write("".join(f"{thing[name]}\n" for thing in things))
    elif format == "table":
        write(aligned([tuple(columns), *(tuple(tell(one) for tell in columns.values()) for one in things)]))
    else:
        show_data(list(things), format)


def show_one(thing: Json, format: Format, facts: Columns, *, name: str = "id") -> None:
    """Print one thing: for people a line a fact, those that are empty left out."""
    if format == "name":
        write(f"{thing[name]}\n")
    elif format == "table":
        told = [(heading, text) for heading, tell in facts.items() if (text := tell(thing))]
        write(aligned(told))
    else:
        show_data(thing, format)


def show_data(data: object, format: Literal["json", "yaml"]) -> None:
    """Print an answer of the API as it is."""
    if format == "json":
        write(msgspec.json.format(msgspec.json.encode(data)).decode() + "\n")
    else:
        write(msgspec.yaml.encode(data).decode())


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Set lines in columns, each as wide as its widest cell."""
    cells = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    texts = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in cells
    )
    return "".join(f"{text.rstrip()}\n" for text in texts)


def printable(text: str) -> str:
    """Leave out what would speak to the terminal instead of the reader."""
    return CONTROL.sub("", text)


def write(text: str) -> None:
    """Print a text as it stands."""
    sys.stdout.write(text)


def local_time(text: str | None) -> str:
    """Write an instant of the API in the reader's own time."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S") if text else ""


def span(seconds: float) -> str:
    """Write a span of time in its two largest units: `0.4 s`, `3 min 20 s`, `5 h 2 min`, `12 d 3 h`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    units = ("d", "h", "min", "s")
    sizes = (86400, 3600, 60, 1)
    first = next(place for place, size in enumerate(sizes) if seconds >= size)
    whole, rest = divmod(int(seconds), sizes[first])
    return f"{whole} {units[first]} {rest // sizes[first + 1]} {units[first + 1]}"
