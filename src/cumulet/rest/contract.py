"""The contract's operations, and which of them is meant by a request that nothing here answers.

A client that calls what we do not offer must not take that for a thing that is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

from cumulet.errors import Unimplemented
from cumulet.operation import Operation

TABLE: Final = Path(__file__).parent / "contract.txt"
FindUnserved: TypeAlias = Callable[[str, str], Unimplemented | None]
"""From a method and a path as it was sent to the refusal that is right for it; None for what is not in the contract."""


@dataclass(frozen=True)
class Promised:
    """One operation of the contract."""

    rank: str
    method: str
    path: str
    name: str
    instead: str = ""
    """What serves in its place, in words, where it is not offered."""

    @property
    def shape(self) -> tuple[str, str]:
        """Its route without the names of its parameters, which are nobody's business."""
        return shape(self.method, self.path)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What paths of it look like."""
        return re.compile("[^/]+".join(map(re.escape, re.split(r"{[^}]+}", self.path))))


def promised() -> Iterator[Promised]:
    """Read the table."""
    rank = ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("["):
            rank = line.strip("[]")
        elif line and not line.startswith("#"):
            route, _, instead = line.partition("  | ")
            method, path, name = route.split(maxsplit=2)
            yield Promised(rank, method, path, name, instead)


def shape(method: str, path: str) -> tuple[str, str]:
    """Leave the names of a route's parameters out."""
    return method, re.sub(r"{[^}]+}", "{}", path)


def unserved(operations: Iterable[Operation]) -> FindUnserved:
    """Give what finds operations of the contract that are not among these; of two that fit, the one more literal."""
    served = {shape(one.method, one.path) for one in operations}
    lacking = [one for one in promised() if one.shape not in served]
    lacking.sort(key=lambda one: one.path.count("{"))

    def find(method: str, path: str) -> Unimplemented | None:
        for one in lacking:
            if method == one.method and one.pattern.fullmatch(path):
                words = f"{one.name} ({method} {one.path}) is not offered by this version of Cumulet"
                return Unimplemented(f"{words}; {one.instead or 'see /docs for what is'}")
        return None

    return find
