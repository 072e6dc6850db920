"""How a host stands: what its operator asked of it and whether it answers are two things, and this is what both come to.

    ADDING ──added──▶ UP ◀──uncordon── CORDONED         drain: DRAINING ──nothing runs there──▶ MAINTENANCE
                      │
       (each of them) ├──no answer for 15 s──▶ SILENT ──proof that it cannot write──▶ LOST
                      ◀────────it answers─────────┴────it answers, and was cleaned────┘

What was asked stays through silence: a cordoned host that comes back is CORDONED. A silent host may run all its VMs:
nothing is started elsewhere before there is proof that it does not.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

SILENCE: Final = timedelta(seconds=15)
"""How long a host may give no answer before it is SILENT; from the first look that got none."""


class HostWanted(enum.Enum):
    """What its operator asks of a host."""

    UP = "up"
    CORDONED = "cordoned"
    """It takes nothing new, and what is there stays."""
    DRAINED = "drained"
    """It takes nothing new, and what runs there is to go elsewhere."""


class HostState(enum.Enum):
    """How a host stands."""

    ADDING = "ADDING"
    """It is being made ready."""
    UP = "UP"
    CORDONED = "CORDONED"
    DRAINING = "DRAINING"
    MAINTENANCE = "MAINTENANCE"
    """It is drained: nothing runs there, and it may be switched off."""
    SILENT = "SILENT"
    """It does not answer; what runs there nobody knows."""
    LOST = "LOST"
    """It is proved that nothing of what ran there runs on."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a host stands, since when and why."""

    wanted: HostWanted
    reason: str
    """Why that is wanted, in the operator's words."""
    state: HostState
    since: datetime
    why: str
    """The reason for the state, or what is wrong with an answer that is missing; empty when there is nothing to say."""
    unheard_since: datetime | None = None
    """When it was first looked at in vain; None while it answers."""


def heard(standing: Standing, now: datetime, *, busy: bool) -> Standing:
    """Tell how a host stands that answers; `busy` when VMs run there or are to."""
    answering = replace(standing, unheard_since=None)
    if standing.state is HostState.ADDING:
        return replace(answering, why="")
    return _enter(answering, _as_wanted(standing.wanted, busy=busy), now, standing.reason)


def unheard(standing: Standing, now: datetime, problem: str) -> Standing:
    """Tell how a host stands that gives no answer."""
    silent = replace(standing, unheard_since=standing.unheard_since or now)
    if standing.state is HostState.LOST:
        return silent
    is_silent = now - (silent.unheard_since or now) >= SILENCE and standing.state is not HostState.ADDING
    return _enter(silent, HostState.SILENT if is_silent else standing.state, now, problem)


def _as_wanted(wanted: HostWanted, *, busy: bool) -> HostState:
    if wanted is HostWanted.DRAINED:
        return HostState.DRAINING if busy else HostState.MAINTENANCE
    return HostState.CORDONED if wanted is HostWanted.CORDONED else HostState.UP


def _enter(standing: Standing, state: HostState, now: datetime, why: str) -> Standing:
    since = standing.since if state is standing.state else now
    return replace(standing, state=state, since=since, why=why)
