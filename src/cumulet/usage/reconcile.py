"""What happens to usage by itself, again and again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cumulet.reconcile import Run
from cumulet.usage.limit import check_limits
from cumulet.usage.settle import AT_ONCE, take_over

GO_ON: Final = timedelta(seconds=1)


def settle_usage(run: Run) -> datetime:
    """Take over what was told since; look again soon while there is more."""
    with run.writing() as db:
        taken = take_over(db)
    return run.now + GO_ON if taken == AT_ONCE else check_limits(run)
