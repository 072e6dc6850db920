"""How a host stands: what its operator asked of it and whether it answers are two things, and this is what both come to.

    ADDING ──added──▶ UP ◀──uncordon── CORDONED         drain: DRAINING ──nothing runs there──▶ MAINTENANCE
                      │
       (each of them) ├──no answer for 15 s──▶ SILENT ──proof that it cannot write──▶ LOST
                      ◀────────it answers─────────┴────it answers, and was cleaned────┘

What was asked stays through silence: a cordoned host that comes back is CORDONED. A silent host may run all its VMs:
nothing is started elsewhere before there is proof that it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cumulet.wire import ProtoEnum

SILENCE: Final = timedelta(seconds=15)
"""How long a host may give no answer before it is SILENT; from the first look that got none."""


class HostWanted(ProtoEnum):
    """What its operator asks of a host."""

    UNKNOWN = "HOST_WANTED_UNKNOWN", 0
    UP = "UP", 1
    CORDONED = "CORDONED", 2
    """It takes nothing new, and what is there stays."""
    DRAINED = "DRAINED", 3
    """It takes nothing new, and what runs there is to go elsewhere."""


class HostState(ProtoEnum):
    """How a host stands."""

    UNKNOWN = "HOST_STATE_UNKNOWN", 0
    ADDING = "ADDING", 1
    """It is being made ready."""
    UP = "UP", 2
    CORDONED = "CORDONED", 3
    DRAINING = "DRAINING", 4
    MAINTENANCE = "MAINTENANCE", 5
    """It is drained: nothing runs there, and it may be switched off."""
    SILENT = "SILENT", 6
    """It does not answer; what runs there nobody knows."""
    LOST = "LOST", 7
    """It is proved that nothing of what ran there runs on."""


CLOSED: Final = {
    HostState.ADDING: "being added",
    HostState.CORDONED: "cordoned",
    HostState.DRAINING: "being drained",
    HostState.MAINTENANCE: "in maintenance",
    HostState.LOST: "lost",
}
"""What a refusal says of those that answer and take nothing new."""


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


def added(standing: Standing, now: datetime) -> Standing:
    """Tell how a host stands that was made ready."""
    return _enter(standing, _as_wanted(standing.wanted, busy=False), now, standing.reason)


def asked(standing: Standing, wanted: HostWanted, now: datetime, reason: str) -> Standing:
    """Tell how a host stands of which its operator asks something else; what runs on one to be drained the next look tells."""
    asking = replace(standing, wanted=wanted, reason=reason)
    if standing.state in {HostState.ADDING, HostState.SILENT, HostState.LOST}:
        return asking
    return _enter(asking, _as_wanted(wanted, busy=True), now, reason)


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


def lost(standing: Standing, now: datetime, proof: str) -> Standing:
    """Tell how a silent host stands of which it is proved that nothing that ran there runs on."""
    return _enter(standing, HostState.LOST, now, proof)


def why_closed(state: HostState, *, answers: bool) -> str:
    """Say in words why a host takes nothing new; empty when it does."""
    if not answers or state is HostState.SILENT:
        return "no answer"
    return "" if state is HostState.UP else CLOSED[state]


def _as_wanted(wanted: HostWanted, *, busy: bool) -> HostState:
    if wanted is HostWanted.DRAINED:
        return HostState.DRAINING if busy else HostState.MAINTENANCE
    return HostState.CORDONED if wanted is HostWanted.CORDONED else HostState.UP


def _enter(standing: Standing, state: HostState, now: datetime, why: str) -> Standing:
    since = standing.since if state is standing.state else now
    return replace(standing, state=state, since=since, why=why)
