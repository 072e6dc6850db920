"""Commands that take several names: each is tried, whatever becomes of the others, and failures are told at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cumulet.cli.client import Declined
from cumulet.errors import CumuletError


class SomeFailed(Exception):
    """What was asked failed with some names; never without any."""

    def __init__(self, failures: list[CumuletError | Declined]) -> None:
        super().__init__(f"{len(failures)} failed")
        self.failures = failures


def each(names: Iterable[str], *acts: Callable[[str], object]) -> None:
    """Do an act with each name, then the next act with each that did not fail; SomeFailed tells all failures."""
    failures: list[CumuletError | Declined] = []
    left = list(dict.fromkeys(names))
    for act in acts:
        for name in tuple(left):
            try:
                act(name)
            except (CumuletError, Declined) as failure:
                failures.append(failure)
                left.remove(name)
    if failures:
        raise SomeFailed(failures)
