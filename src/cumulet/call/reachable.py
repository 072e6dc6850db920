"""What a caller is told when the database cannot be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cumulet.db import UNREACHABLE
from cumulet.errors import Unavailable


@contextmanager
def reachable() -> Iterator[None]:
    """Tell a caller in our words that the database cannot be asked."""
    try:
        yield
    except UNREACHABLE as problem:
        raise Unavailable("the database is unavailable; try again in a moment") from problem
