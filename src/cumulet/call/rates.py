"""How fast one caller may ask: so many requests a second, and more at once after a pause.

What is over that is refused before a thread or the database is taken for it, and told when to come again. One server's account: where
there are two, each counts for itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from cumulet.errors import TooFast

FEWEST_SWEPT: Final = 1000
"""Callers; as many as that are kept without a look at which are past."""


class Rates:
    """When each caller's requests so far would have come at the sustained rate."""

    def __init__(self, *, per_second: int, at_once: int) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._due: dict[Hashable, float] = {}
        self._sweep_at = FEWEST_SWEPT

    def count(self, caller: Hashable, *, now: float) -> None:
        """Count a request at a moment of a clock that runs in seconds; TooFast when it comes too early."""
        due = max(self._due.get(caller, now), now)
        early = due - now - (self._at_once - 1) / self._per_second
        if early > 0:
            raise TooFast(
                f"you send more than {self._per_second} requests a second, and had {self._at_once} at once: "
                f"go on in {early:.2g} s",
                seconds=early,
            )
        self._due[caller] = due + 1 / self._per_second
        if len(self._due) > self._sweep_at:
            self._forget_past(now)

    def _forget_past(self, now: float) -> None:
        """Forget who is as if they had never asked, and look again when there are twice as many."""
        self._due = {caller: due for caller, due in self._due.items() if due > now}
        self._sweep_at = max(2 * len(self._due), FEWEST_SWEPT)
