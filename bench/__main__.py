"""Measures what Cumulet promises to be fast and prints one table; everything runs on a private host that dies with it.

    make bench             all figures
    make bench ONLY=wake   one of them

The table goes to stdout, progress to stderr. Ends with 1 when a promise does not hold.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bench import (
    boots,
    burst,
    checks,
    cli,
    console,
    create,
    fleet,
    follow,
    gpus,
    groups,
    hosts,
    idle,
    images,
    line,
    monitor,
    networks,
    reads,
    usage,
    wake,
    web,
)
from bench.figure import Figure, say
from bench.stage import Stage
from rich.console import Console
from rich.table import Table

BENCHMARKS = {
    "create": create.measure,
    "wake": wake.measure,
    "usage": usage.measure,
    "burst": burst.measure,
    "idle": idle.measure,
    "reads": reads.measure,
    "checks": checks.measure,
    "cli": cli.measure,
    "monitor": monitor.measure,
    "groups": groups.measure,
    "fleet": fleet.measure,
    "gpus": gpus.measure,
    "networks": networks.measure,
    "console": console.measure,
    "follow": follow.measure,
    "boots": boots.measure,
    "images": images.measure,
    "line": line.measure,
    "hosts": hosts.measure,
    "web": web.measure,
}


def main(chosen: Sequence[str]) -> int:
    """Run the chosen benchmarks, or all."""
    if unknown := set(chosen) - BENCHMARKS.keys():
        say(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
        return 2
    with Stage() as stage:
        figures = [figure for name in chosen or BENCHMARKS for figure in BENCHMARKS[name](stage)]
    Console(width=120).print(table_of(figures))
    return 0 if all(figure.holds for figure in figures) else 1


def table_of(figures: Sequence[Figure]) -> Table:
    """Lay the figures out."""
    table = Table("what", "measured", "promised", "holds", box=None, header_style="bold")
    for figure in figures:
        verdict = ("yes" if figure.holds else "NO") if figure.promise else ""
        table.add_row(figure.name, figure.value, figure.promise, verdict)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
