"""What a benchmark gives: a number in words, what is promised of it, and whether that holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

CROWD: Final = 1000
"""As many VMs are many."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    value: str
    promise: str = ""
    holds: bool = True


def at_most(name: str, value: float, limit: float, *, unit: str, detail: str = "") -> Figure:
    """Give a figure that must not be above its limit."""
    return Figure(name, worded(value, unit, detail), f"≤ {limit:g} {unit}", value <= limit)


def at_least(name: str, value: float, limit: float, *, unit: str, detail: str = "") -> Figure:
    """Give a figure that must not be below its limit."""
    return Figure(name, worded(value, unit, detail), f"≥ {limit:g} {unit}", value >= limit)


def worded(value: float, unit: str, detail: str) -> str:
    """Write a number with what explains it."""
    digits = 2 if abs(value) < 10 else 0 if abs(value) >= 100 else 1  # noqa: PLR2004 - three figures that count
    return f"{value:.{digits}f} {unit}" + (f" ({detail})" if detail else "")


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the value that so many percent of the values do not exceed."""
    return sorted(values)[max(ceil(len(values) * percent / 100), 1) - 1]


def say(words: str) -> None:
    """Show how far we are; the table alone goes to stdout."""
    print(words, file=sys.stderr, flush=True)
