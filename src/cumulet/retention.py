"""What is only kept for a while goes, in small parts: nobody who wants to write waits for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cumulet import journal
from cumulet.reconcile import Run

EVERY: Final = timedelta(hours=1)
AT_ONCE: Final = 500
"""Events in one transaction: some milliseconds."""
GO_ON: Final = timedelta(seconds=1)


def forget_old_events(run: Run, days: int) -> datetime:
    """Remove a part of what the journal has told for `days`; look again soon while there is more."""
    with run.writing() as db:
        gone = journal.forget(db, before=run.now - timedelta(days=days), most=AT_ONCE)
    return run.now + (GO_ON if gone == AT_ONCE else EVERY)
