"""The newest events, kept at hand as they are sent, so that those who keep up cost the database nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from cumulet.feed.wire import ProjectEvent, event_view
from cumulet.journal import Event

AT_HAND: Final = 2000
"""So many at least, of all projects, once there were as many."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and how it is sent."""

    number: int
    event: ProjectEvent
    line: bytes

    @classmethod
    def of(cls, event: Event) -> Told:
        """Write an event once for all who get it."""
        view = event_view(event)
        return cls(event.id, view, b"id: %d\ndata: %b\n\n" % (event.id, msgspec.json.encode(view)))


class Newest:
    """All that was told in one stretch of the journal, up to its settled end."""

    def __init__(self, place: int) -> None:
        self._begins = place
        self._told: list[Told] = []
        self.place = place
        """Up to this event everything is known."""

    def add(self, told: Sequence[Told], upto: int) -> None:
        """Know all that was told up to there."""
        self._told += told
        self.place = upto
        if len(self._told) > 2 * AT_HAND:
            self._begins = self._told[-AT_HAND - 1].number
            del self._told[:-AT_HAND]

    def after(self, place: int, most: int) -> Sequence[Told] | None:
        """Give what was told after a place, no more than `most`; None when that is not at hand any more."""
        if place < self._begins:
            return None
        first = bisect_right(self._told, place, key=lambda told: told.number)
        return self._told[first : first + most]
