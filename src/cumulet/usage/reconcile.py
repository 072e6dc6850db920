"""What happens to usage by itself, again and again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cumulet.reconcile import Run
from cumulet.usage.limit import check_limits
from cumulet.usage.settle import AT_ONCE, is_anything_told, take_over

GO_ON: Final = timedelta(seconds=1)


def settle_usage(run: Run) -> datetime:
    """Take over what was told since; look again soon while there is more.

    Nobody waits for a lock where nothing was told.
    """
    with run.reading() as db:
        is_told = is_anything_told(db)
    if is_told:
        with run.writing() as db:
            taken = take_over(db)
        if taken == AT_ONCE:
            return run.now + GO_ON
    return check_limits(run)
