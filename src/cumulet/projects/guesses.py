"""Who guesses keys or passwords: each try from a place has to wait longer than the one before.

    1st to 10th wrong one   answered at once
    11th, 12th, 13th…       after 1 s, 2 s, 4 s… up to a minute; what comes earlier is refused before it is looked at
    a quarter of an hour    without a wrong one, and all is forgotten

A place is an address, or the account whose password is tried. One server's account: where there are two, each counts for itself.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from cumulet.errors import TooFast
from cumulet.ids import neighbourhood

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
        if tried is None or tried.times < FREE or now - tried.last > FORGOTTEN_S:
            return 0.0
        return float(min(2.0 ** min(tried.times - FREE, 10), LONGEST_S)) - (now - tried.last)


@dataclass(frozen=True, slots=True)
class Tries:
    """The guesses at passwords, as seen by one request."""

    guesses: Guesses
    address: str
    now: float

    def refuse_too_many(self, account: str) -> None:
        """Return if a password may be tried for an account; TooFast, which says when."""
        seconds = max(self.guesses.seconds(place, now=self.now) for place in self._places(account))
        if seconds > 0:
            raise TooFast(
                f"too many wrong passwords were tried: try again in {seconds:.0f} s. `cumulet web` signs you in "
                "without one",
                seconds=seconds,
                reason="TOO_MANY_WRONG_PASSWORDS",
            )

    def note_wrong(self, account: str) -> None:
        """Count a wrong one."""
        for place in self._places(account):
            self.guesses.note(place, now=self.now)

    def _places(self, account: str) -> tuple[str, str]:
        return f"at {neighbourhood(self.address)}", f"of {account}"
