"""How answers are printed: aligned text for people, the API's own JSON or YAML for programs, names for shells.

Texts of an answer come from guests and colleagues, and a terminal obeys some characters. None of them is printed: JSON
and YAML tell them by their escapes, all else leaves them out.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec
from cyclopts import Parameter

from cumulet.errors import Invalid

Json = dict[str, Any]
Columns = Mapping[str, Callable[[Json], str]]
"""What people are shown of a thing: headings, and how to write what stands under them."""
Data = Literal["json", "yaml"]
Format = Annotated[
    Literal["table", "json", "yaml", "name"],
    Parameter(name=["--output", "-o"], help="What to print: a table, the API's answer, or names alone."),
]
OPTIONS: Final = Parameter(negative=(), show_default=lambda value: str(value) if value else None)
"""How options are: no `--no-…` beside a flag, and a default is shown where there is something to show."""
UNSAFE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal obeys: control characters of both sets, those that turn a line's direction, other ends of lines."""
FORMULA: Final = ("=", "+", "-", "@", "\t")
"""How what a spreadsheet would compute begins."""
KIBI: Final = 1024
TWO_DIGITS: Final = 10
GAP: Final = 2
NARROWEST: Final = 6
"""Characters that a column keeps, however narrow the terminal is."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How a list is printed."""

    output: Annotated[
        Literal["table", "wide", "json", "yaml", "name"], Parameter(name=["--output", "-o"])
    ] = "table"
    """What to print: a table, one with more columns, the API's answer, or names alone."""
    columns: str = ""
    """Which columns of a table, in which order, such as name,state; any of those that `-o wide` has."""
    no_header: bool = False
    """Leave out the headings."""


AS_TABLE: Final = Listing()


def show(
    things: Sequence[Json],
    listing: Listing,
    columns: Columns,
    *,
    more: Columns | None = None,
    name: str = "id",
) -> None:
    """Print a list of things.

    `more` are columns that only a wide table has; `name` is the member that names a thing.
    """
    if listing.output == "name":
        write("".join(f"{thing[name]}\n" for thing in things))
    elif listing.output == "json" or listing.output == "yaml":  # noqa: PLR1714 - mypy follows this form alone
        show_data(list(things), listing.output)
    else:
        chosen = choose(listing, columns, more or {})
        heading = [] if listing.no_header else [tuple(chosen)]
        lines = [*heading, *(tuple(text_of(one) for text_of in chosen.values()) for one in things)]
        write(aligned(lines, room=terminal_width() if listing.output == "table" else None))


def choose(listing: Listing, columns: Columns, more: Columns) -> Columns:
    """Choose a table's columns; Invalid names those that there are."""
    every = {**columns, **more}
    if not listing.columns:
        return every if listing.output == "wide" else columns
    named = {heading.lower().replace(" ", "-"): heading for heading in every}
    wanted = [word.strip().lower().replace(" ", "-") for word in listing.columns.split(",")]
    for word in wanted:
        if word not in named:
            raise Invalid.field("--columns", word, f"some of {', '.join(named)}")
    return {named[word]: every[named[word]] for word in wanted}


def show_one(
    thing: Json, format: Literal["table", "json", "yaml", "name"], facts: Columns, *, name: str = "id"
) -> None:
    """Print one thing: for people a line a fact, those that are empty left out."""
    if format == "name":
        write(f"{thing[name]}\n")
    elif format == "table":
        lines = [(heading, text) for heading, text_of in facts.items() if (text := text_of(thing))]
        write(aligned(lines))
    else:
        show_data(thing, format)


def show_data(data: object, format: Data) -> None:
    """Print an answer of the API as it is."""
    write(json_text(data) if format == "json" else yaml_text(data))


def json_text(data: object, *, indent: int = 2) -> str:
    """Write JSON, with no `indent` on one line; what a terminal would obey can only be inside of strings, which have escapes for it."""
    text = msgspec.json.format(msgspec.json.encode(data), indent=indent).decode()
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def yaml_text(data: object) -> str:
    """Write YAML; with something in it that a terminal would obey, all that is not ASCII is told by its escapes."""
    text = msgspec.yaml.encode(data).decode()
    if UNSAFE.search(text) is None:
        return text
    import yaml  # noqa: PLC0415 - as msgspec does, which has no word for this

    return str(yaml.safe_dump(data, allow_unicode=False, sort_keys=False))


def aligned(lines: Sequence[Sequence[str]], *, room: int | None = None) -> str:
    """Set lines in columns, each as wide as its widest cell, or narrower where all must fit in `room` characters."""
    if not lines:
        return ""
    cells = [[" ".join(printable(cell).split("\n")) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if room is not None:
        widths = fitted(widths, room)
    texts = (
        (" " * GAP).join(f"{cut(cell, width):<{width}}" for cell, width in zip(line, widths, strict=True))
        for line in cells
    )
    return "".join(f"{text.rstrip()}\n" for text in texts)


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """Narrow the widest columns until all fit."""
    fit = list(widths)
    while sum(fit) + GAP * (len(fit) - 1) > room and max(fit) > NARROWEST:
        fit[fit.index(max(fit))] -= 1
    return fit


def cut(text: str, width: int) -> str:
    """Shorten a text to a width, and show that it was."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def terminal_width() -> int | None:
    """Say how many characters a line of the terminal has; None where there is no terminal: programs get all."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def printable(text: str) -> str:
    """Leave out what a terminal would obey."""
    return UNSAFE.sub("", text)


def harmless(text: str) -> str:
    """Write a cell that neither a terminal nor a spreadsheet obeys."""
    plain = printable(text)
    return f"'{plain}" if plain.startswith(FORMULA) else plain


def write(text: str) -> None:
    """Print a text, without what a terminal would obey."""
    sys.stdout.write(printable(text))


def money(amount: Json) -> str:
    """Write an amount of the API for people, to four decimals."""
    return f"{Decimal(amount['value']):.4f}"


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


def size(value: float) -> str:
    """Write bytes in their largest unit: `512 B`, `4.0 KiB`, `128 GiB`."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    place = next((place for place in range(4) if value < KIBI ** (place + 1)), 4)
    number = value / KIBI**place
    digits = 0 if place == 0 or number >= TWO_DIGITS else 1
    return f"{number:.{digits}f} {units[place]}"
