"""Waiting for what comes to be true: the only way in which a test lets real time pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 0.02
PATIENCE_S = 120.0
"""Seconds until it is given up: nothing that a test waits for takes as long, not even on a busy machine."""


def eventually(look: Callable[[], T], *, within: float = PATIENCE_S) -> T:
    """Look until the answer is truthy, and return it; fail with the last one when that does not come."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {within:g} s"
        time.sleep(PAUSE_S)
    return seen


def is_alive(pid: int) -> bool:
    """Whether a process has not ended; one that nobody reaped has. What was killed is alive for another moment."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
