"""`cumulet vm monitor`: what a virtual machine used, drawn in a line for each measure."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cumulet.cli.client import Json, connect
from cumulet.cli.follow import VM, read_span
from cumulet.cli.output import Format, aligned, local_time, show_data, size, write
from cumulet.cli.words import Project, VmName

BARS: Final = "▁▂▃▄▅▆▇█"
NOTHING: Final = " "
"""Where nothing was measured."""
NARROWEST: Final = 10
AROUND: Final = 40
"""What stands beside a drawing, in characters."""


def percent(value: float) -> str:
    """Write a share."""
    return f"{value:.0f} %"


def speed(value: float) -> str:
    """Write bytes a second."""
    return f"{size(value)}/s"


def count(value: float) -> str:
    """Write how often a second."""
    return f"{value:.0f} /s"


def milliseconds(value: float) -> str:
    """Write how long a guest took; 0 is a guest that did not answer."""
    return f"{value:.0f} ms" if value else "silent"


MEASURES: Final[Mapping[str, tuple[str, Callable[[float], str]]]] = {
    "cpu": ("cpu", percent),
    "memory": ("memory", size),
    "disk read": ("diskRdBytes", speed),
    "reads": ("diskRdIops", count),
    "disk write": ("diskWrBytes", speed),
    "writes": ("diskWrIops", count),
    "received": ("netRx", speed),
    "sent": ("netTx", speed),
    "guest latency": ("guestPing", milliseconds),
}


def monitor(
    name: VmName,
    /,
    *,
    last: str = "1h",
    output: Format = "table",
    project: Project = "default",
) -> None:
    """Draw a virtual machine's usage of processors, memory, disks and network, and its guest's latency.

    :param last: How far to look back, as in 10m, 1d or 31d, which is the most there is.
    """
    span = read_span("--last", last)
    since = datetime.now(UTC) - timedelta(seconds=span)
    items = connect().get(f"{VM}/monitor", project, name, since=since.isoformat())["items"]
    if output in {"json", "yaml"}:
        show_data(items, output)
    elif output == "name":
        write("".join(f"{item['timestamp']}\n" for item in items))
    elif not items:
        write(
            f"there are no measurements of {name} for that time; it is measured every half minute while it runs\n"
        )
    else:
        width = max(shutil.get_terminal_size().columns - AROUND, NARROWEST)
        write(drawing(items, begin=since.timestamp(), span=span, width=width))


def drawing(items: Sequence[Json], *, begin: float, span: float, width: int) -> str:
    """Draw a line for each measure, with its highest and its newest value."""
    lines = [("", f"{local_time(instant(begin))}, {span / width:.0f} s a column", "MOST", "NOW")]
    for heading, (member, words) in MEASURES.items():
        points = [(int(item["timestamp"]), float(item[member])) for item in items]
        columns = spread(points, begin=begin, span=span, width=width)
        values = [value for _, value in points]
        lines.append((heading, bars(columns), words(max(values)), words(values[-1])))
    return aligned(lines)


def instant(seconds: float) -> str:
    """Write Unix seconds as the API writes an instant."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def spread(
    points: Sequence[tuple[int, float]], *, begin: float, span: float, width: int
) -> list[float | None]:
    """Put values into columns of equal time: the highest that falls into each, None where nothing was measured."""
    columns: list[float | None] = [None] * width
    for at, value in points:
        place = min(max(int((at - begin) / span * width), 0), width - 1)
        columns[place] = max(value, columns[place] or 0.0)
    return columns


def bars(columns: Sequence[float | None]) -> str:
    """Draw columns as bars, the highest as high as can be."""
    most = max((value for value in columns if value is not None), default=0.0) or 1.0
    return "".join(
        NOTHING if value is None else BARS[min(int(value / most * len(BARS)), len(BARS) - 1)]
        for value in columns
    )
