"""Has each host's doctor look at it from time to time: what the machine lacks, what that costs, and what mends it.

The last findings stay while a host does not answer, for they tell what it lacked. One host is examined at a time: it
takes seconds where KVM hangs, and others need the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from sqlalchemy import bindparam, select

from cumulet.db import fetch_columns
from cumulet.doctor.calls import Finding, Level, degraded
from cumulet.errors import CumuletError
from cumulet.events import EventName
from cumulet.hosts import Host, HostState, log_host
from cumulet.hypervisor import HostUnreachable
from cumulet.reconcile import NotYet, Run

AGAIN: Final = timedelta(minutes=15)
ONCE_IT_ANSWERS: Final = timedelta(minutes=1)
"""Until the next try at a host that did not answer: one just added is not left unexamined for a quarter of an hour."""
TURN_SECONDS: Final = 1.0
IS_THERE: Final = select(Host.id).where(Host.id == bindparam("host_id"), Host.state != HostState.ADDING)
Examine = Callable[[Run], Sequence[Finding]]
"""Gives all that the doctor of the run's host finds; HostUnreachable where nobody answers."""


class Examiner:
    """Examines hosts."""

    def __init__(self, examine: Examine) -> None:
        self._examine = examine
        self._turn = Lock()

    def examine_host(self, run: Run) -> datetime | None:
        """Write down what is not well on a host, and tell it where that is news; look again later."""
        with run.looking() as db:
            if not fetch_columns(db, IS_THERE, host_id=run.id):
                return None
        if not self._turn.acquire(blocking=False):
            raise NotYet("another host to be examined", TURN_SECONDS)
        try:
            findings = self._look(run)
        except HostUnreachable:
            return run.now + ONCE_IT_ANSWERS
        finally:
            self._turn.release()
        note_findings(run, [one for one in findings if one.level is not Level.OK])
        return run.now + AGAIN

    def _look(self, run: Run) -> Sequence[Finding]:
        try:
            return self._examine(run)
        except HostUnreachable:
            raise
        except CumuletError as failure:
            return [
                degraded("doctor", failure.for_operator, cost="what the machine lacks as a host is not known")
            ]


def note_findings(run: Run, findings: Sequence[Finding]) -> None:
    """Write down what is not well on a host."""
    found = [asdict(one) for one in findings]
    with run.writing() as db:
        host = db.get_one(Host, run.id)
        host.examined_at = run.now
        if host.findings != found:
            host.findings = found
            names = ", ".join(one.name for one in findings)
            log_host(db, host, EventName.HOST_EXAMINED, f"to be mended: {names or 'nothing'}", now=run.now)
