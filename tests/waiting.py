"""Waiting for what comes to be true: the only way in which a test lets real time pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
SHARE = 0.05
"""Of what was waited for already: to ask a server or a guest costs an emulated one the processor that it boots with."""
PATIENCE_S = 120.0
"""Seconds until it is given up: nothing that a test waits for takes as long, not even on a busy machine."""


def eventually(look: Callable[[], T], *, within: float = PATIENCE_S) -> T:
    """Look until the answer is truthy, and return it; fail with the last one when that does not come."""
    began = time.monotonic()
    while not (seen := look()):
        waited = time.monotonic() - began
        assert waited < within, f"still {seen!r} after {within:g} s"
        time.sleep(min(max(PAUSE_S, SHARE * waited), LONGEST_PAUSE_S))
    return seen


def is_alive(pid: int) -> bool:
    """Whether a process has not ended; one that nobody reaped has. What was killed is alive for another moment."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
