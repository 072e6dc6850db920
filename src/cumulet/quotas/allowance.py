"""Taking of a project's quotas.

Whoever adds to what a project has locks it first, counts then and adds after: so no two that race see the same room.
Who locks several things locks hosts before projects, and those before what is due, VMs and disks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.errors import Exhausted, Refused, error_info
from cumulet.limits import Quotas
from cumulet.projects import SPEND_REACHED, Project, lock_project
from cumulet.quotas.names import Limits, limit_of
from cumulet.quotas.use import read_use


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a locked project may have."""

    project_id: str
    own: Limits
    others: Quotas
    spend_reached: bool
    """It has spent this month what it may."""

    def take(self, db: Session, asked: Mapping[str, int]) -> None:
        """Return when the project may have so much more of each; Exhausted tells limit, used and asked.

        What is not to grow is not looked at: a limit below what is there takes nothing away. Refused when the project has
        spent what it may.
        """
        if self.spend_reached and any(more > 0 for more in asked.values()):
            raise _spent(self.project_id)
        limits = {
            name: limit
            for name, more in asked.items()
            if more > 0 and (limit := limit_of(name, self.own, self.others)) is not None
        }
        if not limits:
            return
        used = read_use(db, self.project_id, limits)
        over = [name for name, limit in limits.items() if used[name] + asked[name] > limit]
        if over:
            staying = read_use(db, self.project_id, over, staying=True)
            passing = all(staying[name] + asked[name] <= limits[name] for name in over)
            raise self._exhausted(
                [(name, limits[name], used[name], asked[name]) for name in over], passing=passing
            )

    def _exhausted(self, over: list[tuple[str, int, int, int]], *, passing: bool) -> Exhausted:
        """Refuse with the figures of each quota that is used up."""
        words = [
            f"{name}: at most {limit}, {used} used, {more} more asked for" for name, limit, used, more in over
        ]
        advice = (
            "it fits once what is being deleted is gone"
            if passing
            else "delete what is not needed, or ask an operator of this cloud for more"
        )
        name, limit, used, more = over[0]
        return Exhausted(
            f"the quota of project {self.project_id!r} is used up ({'; '.join(words)}): {advice}",
            error_info(
                "QUOTA_EXCEEDED", project=self.project_id, quota=name, limit=limit, used=used, asked=more
            ),
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                    {"subject": f"project:{self.project_id}", "description": text} for text in words
                ],
            },
            passing=passing,
        )


def lock_allowance(db: Session, project_id: str, others: Quotas) -> Allowance:
    """Say what a project may have, and keep others from adding to what it has until the transaction ends; NotFound."""
    project = lock_project(db, project_id)
    return Allowance(project_id, project.quotas, others, project.spend_told >= SPEND_REACHED)


def refuse_running(db: Session, project_id: str) -> None:
    """Return when VMs of a project may be started: Refused when they are stopped because of what it has spent."""
    stops = (Project.id == project_id, Project.spend_stops, Project.spend_told >= SPEND_REACHED)
    if db.scalar(select(Project.id).where(*stops)) is not None:
        raise _spent(project_id)


def _spent(project_id: str) -> Refused:
    """Say that a project has spent this month what it may."""
    return Refused(
        f"project {project_id!r} has reached its spend limit for this month: its owner can raise it",
        reason="BILLING_ACCOUNT_BLOCKED",
        subject=project_id,
    )
