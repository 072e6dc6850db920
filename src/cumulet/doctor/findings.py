"""What the doctor says about a host: in words, each with its cost or its cure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    DEGRADED = "degraded"
    """VMs run, at a cost."""
    BROKEN = "broken"
    """VMs do not run until it is mended."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    level: Level
    text: str
    """What was found."""
    cost: str = ""
    """What it costs; always there when degraded."""
    cure: str = ""
    """The command, or the step, that mends it; always there when broken."""


def ok(name: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(name, Level.OK, text)


def degraded(name: str, text: str, *, cost: str, cure: str = "") -> Finding:
    """It works, at a cost; without a cure where none is in the operator's hands."""
    return Finding(name, Level.DEGRADED, text, cost, cure)


def broken(name: str, text: str, *, cure: str) -> Finding:
    """It does not work until somebody follows the cure."""
    return Finding(name, Level.BROKEN, text, cure=cure)
