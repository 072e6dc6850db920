"""Who guesses keys: each try from a place has to wait longer than the one before.

    1st to 10th wrong one   answered at once
    11th, 12th, 13th…       after 1 s, 2 s, 4 s… up to a minute; what comes earlier is refused before it is looked at
    a quarter of an hour    without a wrong one, and all is forgotten

A place is an address. One server's account: where there are two, each counts for itself. Tries at passwords wait by the same
rule, and count for all servers together (`tries.py`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

FREE: Final = 10
LONGEST_S: Final = 60.0
FORGOTTEN_S: Final = 900.0
MOST: Final = 50_000
"""Places that are remembered; whose last try is longest ago is forgotten first."""


@dataclass(slots=True)
class Tried:
    """What was tried from one place."""

    times: int
    last: float


class Guesses:
    """What was tried from where, by a clock that runs in seconds; several threads may count."""

    def __init__(self) -> None:
        self._tried: OrderedDict[str, Tried] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, place: str, *, now: float) -> None:
        """Count a wrong one."""
        with self._lock:
            tried = self._tried.pop(place, None)
            if tried is None or now - tried.last > FORGOTTEN_S:
                tried = Tried(0, now)
            self._tried[place] = Tried(tried.times + 1, now)
            if len(self._tried) > MOST:
                self._tried.popitem(last=False)

    def seconds(self, place: str, *, now: float) -> float:
        """How long the next try has to wait; 0 or less for not at all."""
        tried = self._tried.get(place)
        return wait_after(tried.times, now - tried.last) if tried else 0.0


def wait_after(times: int, ago: float) -> float:
    """How long the next try has to wait after so many, the last of them so many seconds ago; 0 or less for not at all."""
    if times < FREE or ago > FORGOTTEN_S:
        return 0.0
    return float(min(2.0 ** min(times - FREE, 10), LONGEST_S)) - ago
