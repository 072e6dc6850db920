"""Things on hosts and fabrics that carry our name but have no owner: what a crash at the wrong moment leaves behind."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

GRACE: Final = timedelta(seconds=60)
"""How long an orphan stands before it is removed: its owner may just be in the making."""


@dataclass(frozen=True, slots=True)
class Orphans:
    """What was found without an owner, and since when. In memory only: a restart merely lengthens the grace."""

    since: dict[tuple[str, UUID], datetime] = field(default_factory=dict)

    def overdue(self, kind: str, found: AbstractSet[UUID], now: datetime) -> list[UUID]:
        """Note the orphans of a kind found now; answer those that have been without an owner for the grace."""
        for known in [key for key in self.since if key[0] == kind and key[1] not in found]:
            del self.since[known]
        return [id for id in found if now - self.since.setdefault((kind, id), now) >= GRACE]
