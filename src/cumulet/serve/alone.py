"""A lock that keeps a second process from what has room for one."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cumulet.errors import Unavailable


@contextmanager
def alone(lock: Path, otherwise: str) -> Iterator[None]:
    """Hold a lock on a file, whose folder is made where it is missing; Unavailable says what is otherwise."""
    lock.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(otherwise) from None
        yield
