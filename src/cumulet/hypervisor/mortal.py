"""Programs that end with whoever started them, however that one ends."""

from __future__ import annotations

import os
from typing import Final

UNLESS_ORPHANED: Final = '[ "$PPID" = "$0" ] && exec "$@"'
"""Becomes the program if its keeper, $0, still lives: one that dies before the kernel knows whose death to tell kills nobody."""


def dies_with_us(*argv: str) -> tuple[str, ...]:
    """Give the arguments by which a program is started that is killed when the thread that started it ends."""
    return ("setpriv", "--pdeathsig", "KILL", "sh", "-c", UNLESS_ORPHANED, str(os.getpid()), *argv)
