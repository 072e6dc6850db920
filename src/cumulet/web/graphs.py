"""What a VM did, as graphs: a few hundred points each, drawn as SVG, and the same as numbers for the script that reads them out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import mean
from typing import Any, Final, NamedTuple

from cumulet.monitoring.wire import VmMonitoringItem
from cumulet.web.scale import round_up

WIDTH: Final = 600
HEIGHT: Final = 140
HOUR: Final = 3600
NOTHING: Final = "–"  # noqa: RUF001 - as tables of pages have it
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class Stretch(NamedTuple):
    """A time to look back on."""

    name: str
    seconds: int
    step: int
    """Seconds that make one point, several samples at least."""


STRETCHES: Final = (
    Stretch("hour", HOUR, 60),
    Stretch("day", 24 * HOUR, 300),
    Stretch("week", 7 * 24 * HOUR, 1800),
    Stretch("month", 30 * 24 * HOUR, 7200),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a graph."""

    name: str
    tone: int
    """Which of the colours of graphs."""
    values: Sequence[float | None]
    """None where nothing is known."""
    unit: str
    """`%`, `B`, `B/s`."""

    @property
    def known(self) -> list[float]:
        """The values that there are."""
        return [value for value in self.values if value is not None]

    @property
    def last(self) -> str:
        """What it was last, in words."""
        return self.words(self.known[-1]) if self.known else NOTHING

    @property
    def middle(self) -> str:
        """What it was in the mean."""
        return self.words(mean(self.known)) if self.known else NOTHING

    @property
    def highest(self) -> str:
        """What it was at most."""
        return self.words(max(self.known)) if self.known else NOTHING

    def words(self, value: float) -> str:
        """Write a value for people."""
        return f"{value:.0f} %" if self.unit == "%" else size_words(value) + self.unit.removeprefix("B")

    def areas(self, top: float) -> Iterator[str]:
        """Give what lies below each unbroken run, as an SVG polygon has it."""
        for run in self.runs(top):
            first, last = run.split(" ", 1)[0], run.rsplit(" ", 1)[-1]
            yield f"{first.split(',')[0]},{HEIGHT} {run} {last.split(',')[0]},{HEIGHT}"

    def runs(self, top: float) -> Iterator[str]:
        """Give the points of each unbroken run, as an SVG polyline has them."""
        run: list[str] = []
        for at, value in enumerate([*self.values, None]):
            if value is not None:
                x = WIDTH * (at + 0.5) / len(self.values)
                run.append(f"{x:.0f},{HEIGHT * (1 - min(value / top, 1)):.1f}")
            elif run:
                yield " ".join(run if len(run) > 1 else run * 2)
                run = []


@dataclass(frozen=True, slots=True)
class Graph:
    """What is shown together."""

    name: str
    lines: Sequence[Line]
    top: float

    width = WIDTH
    height = HEIGHT

    @property
    def highest(self) -> str:
        """What the highest of its lines was at most, in words."""
        return self.lines[0].words(max((value for line in self.lines for value in line.known), default=0))

    @property
    def top_words(self) -> str:
        """What its upper edge stands for."""
        return self.lines[0].words(self.top)

    def numbers(self, begin: int, step: int) -> dict[str, Any]:
        """Give the same for the script that draws it so that it can be read out."""
        lines = [
            {"name": line.name, "tone": line.tone, "values": [_short(one) for one in line.values]}
            for line in self.lines
        ]
        return {"begin": begin, "step": step, "top": self.top, "unit": self.lines[0].unit, "lines": lines}


def graphs_of(items: Sequence[VmMonitoringItem], stretch: Stretch, *, end: int, memory: int) -> list[Graph]:
    """Draw what a VM with so many bytes of memory did in the time before an instant; nothing of what is not known."""
    if not items:
        return []
    begin = end - stretch.seconds

    def line(name: str, tone: int, value: Callable[[VmMonitoringItem], float], unit: str) -> Line:
        return Line(name, tone, thinned(items, value, begin, stretch), unit)

    return [
        graph("CPU", line("CPU", 1, lambda one: one.cpu, "%"), top=100),
        graph("Memory", line("Memory", 4, lambda one: float(one.memory), "B"), top=memory),
        graph(
            "Network",
            line("in", 2, lambda one: float(one.net_rx), "B/s"),
            line("out", 3, lambda one: float(one.net_tx), "B/s"),
        ),
        graph(
            "Disks",
            line("written", 3, lambda one: float(one.disk_wr_bytes), "B/s"),
            line("read", 1, lambda one: float(one.disk_rd_bytes), "B/s"),
        ),
    ]


def graph(name: str, *lines: Line, top: float = 0) -> Graph:
    """Put lines into a graph that has room for the highest."""
    return Graph(
        name, lines, top or round_top(max((value for line in lines for value in line.known), default=0))
    )


def thinned(
    items: Sequence[VmMonitoringItem],
    value: Callable[[VmMonitoringItem], float],
    begin: int,
    stretch: Stretch,
) -> list[float | None]:
    """Give the mean of each step of a stretch; None where there is no sample."""
    steps: list[list[float]] = [[] for _ in range(stretch.seconds // stretch.step)]
    for item in items:
        at = (int(item.timestamp) - begin) // stretch.step
        if 0 <= at < len(steps):
            steps[at].append(value(item))
    return [mean(step) if step else None for step in steps]


def round_top(highest: float) -> float:
    """Give the round size that the highest value fits under, in its own unit; a byte at least."""
    unit = 1
    while highest > 1000 * unit:
        unit *= 1024
    return float(round_up(Decimal(max(highest / unit, 1)))) * unit


def size_words(size: float) -> str:
    """Write a number of bytes for people, such as `1.5 GiB`."""
    for unit in UNITS[:-1]:
        if size < 1000:  # noqa: PLR2004 - three digits
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:,.0f} {UNITS[-1]}"


def _short(value: float | None) -> float | None:
    return None if value is None else round(value) if value >= 10 else round(value, 1)  # noqa: PLR2004 - as a screen shows
