"""What is only kept for a while goes, in small parts: nobody who wants to write waits for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from cumulet.reconcile import Run

EVERY: Final = timedelta(hours=1)
AT_ONCE: Final = 500
"""Rows in one transaction: some milliseconds."""
GO_ON: Final = timedelta(seconds=1)
Forget = Callable[..., int]
"""Removes the oldest rows from `before` an instant, `most` at the most; answers how many went."""


def forget_old(run: Run, forget: Forget, *, kept_for: timedelta) -> datetime:
    """Remove a part of what was kept for long enough; look again soon while there is more."""
    with run.writing() as db:
        gone = forget(db, before=run.now - kept_for, most=AT_ONCE)
    return run.now + (GO_ON if gone == AT_ONCE else EVERY)
