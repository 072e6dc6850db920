"""Long lists, a page at a time: which page is asked for, and links to others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cumulet.web.visit import Visit

PAGE_SIZE: Final = 50
NUMBER: Final = re.compile("[0-9]{1,7}")


@dataclass(frozen=True, slots=True)
class Paged:
    """A page of a list, and the way to others."""

    visit: Visit
    all: Sequence[Any]
    kept: Sequence[str] = ()
    """The parameters that its links keep."""
    size: int = PAGE_SIZE

    @property
    def number(self) -> int:
        """Which page is asked for, counted from 0; one that is not there is the last."""
        asked = NUMBER.fullmatch(self.visit.given("page"))
        return max(0, min(int(asked[0]) - 1 if asked else 0, (len(self.all) - 1) // self.size))

    @property
    def shown(self) -> Sequence[Any]:
        """What is on it."""
        first = self.number * self.size
        return self.all[first : first + self.size]

    def link(self, **changed: object) -> str:
        """Give this list's address with something else in its query."""
        return self.visit.asking_for(*self.kept, **changed)
