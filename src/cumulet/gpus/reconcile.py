"""Making a GPU that no VM holds as good as new: nobody gets it before its host has seen that it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

from cumulet.events import EventName
from cumulet.gpus.model import Gpu
from cumulet.gpus.proof import Outcome, judge
from cumulet.gpus.told import log_gpu
from cumulet.gpus.wire import GpuState
from cumulet.hosts import wake_queue
from cumulet.hypervisor import GpuInUse, GpuUnclean, HostUnreachable, HypervisorError
from cumulet.hypervisor import Hypervisor as Host
from cumulet.reconcile import NotYet, Run

TRIES: Final = 3
"""So often in a row it must fail to be cleaned until it is left to its operator."""
PAUSE: Final = 20.0
"""Seconds until it is tried again: a card that has gone meanwhile is seen to be gone before the last try."""
IN_USE_PAUSE: Final = 5.0
"""Seconds until it is looked again whether whoever has it open let go."""


def reconcile_gpu(run: Run, find_host: Callable[[UUID], Host]) -> None:
    """Clean one GPU if it waits for that."""
    with run.looking() as db:
        gpu = db.get(Gpu, run.id)
    if gpu is None or gpu.state is not GpuState.CLEANING:
        return
    try:
        outcome = make_as_new(find_host(gpu.host_id), gpu)
    except GpuInUse as problem:
        raise NotYet(str(problem), IN_USE_PAUSE) from problem
    except GpuUnclean as problem:
        note_unclean(run, gpu, str(problem))
    except HostUnreachable:
        raise
    except HypervisorError as problem:
        if not gpu.proving:
            raise
        note_no_proof(run, gpu, str(problem))
    else:
        note_clean(run, gpu, outcome)


def make_as_new(host: Host, gpu: Gpu) -> Outcome | None:
    """Have it cleaned, and if that is wanted given to a small guest, of which this tells."""
    if gpu.proving:
        return judge(gpu.seen, host.gpus.prove(gpu.address))
    host.gpus.clean(gpu.address)
    return None


def note_clean(run: Run, gpu: Gpu, outcome: Outcome | None) -> None:
    """Let VMs have it, unless a guest found that it is not what it should be."""
    with cleaning(run, gpu) as (db, row):
        if outcome:
            note_outcome(db, row, outcome, now=run.now)
        if outcome and outcome.problem:
            quarantine(db, row, outcome.problem, now=run.now)
            return
        row.state, row.since, row.cleaned_at, row.failures = GpuState.FREE, run.now, run.now, 0
        log_gpu(db, row.id, EventName.GPU_CLEANED, "is clean and FREE", now=run.now)
        wake_queue(db, now=run.now)


def note_unclean(run: Run, gpu: Gpu, problem: str) -> None:
    """Count the failure, and leave it to its operator after some; NotYet before."""
    with cleaning(run, gpu) as (db, row):
        row.failures += 1
        failures = row.failures
        if failures >= TRIES:
            row.proving = False
            why = f"it could not be cleaned {failures} times: {problem}"
            quarantine(db, row, problem, why, now=run.now)
    if failures < TRIES:
        raise NotYet(f"it could not be cleaned and will be tried again: {problem}", PAUSE)


def note_no_proof(run: Run, gpu: Gpu, problem: str) -> None:
    """Write down why no guest could look at it; NotYet, for it is to be cleaned all the same."""
    with cleaning(run, gpu) as (db, row):
        note_outcome(db, row, Outcome(problem, None), now=run.now)
    raise NotYet("it is cleaned after a proof that failed", 0)


def note_outcome(db: Session, row: Gpu, outcome: Outcome, *, now: datetime) -> None:
    """Write down what a guest found."""
    row.proving, row.proved_at = False, now
    row.proof = msgspec.json.decode(msgspec.json.encode(outcome))
    text = (
        f"could not be proved: {outcome.problem}"
        if outcome.problem
        else "was found by a guest as it should be"
    )
    log_gpu(db, row.id, EventName.GPU_PROVED, text, now=now)


def quarantine(db: Session, row: Gpu, problem: str, why: str = "", *, now: datetime) -> None:
    """Leave it to its operator."""
    row.state, row.since, row.problem = GpuState.QUARANTINED, now, problem
    log_gpu(db, row.id, EventName.GPU_QUARANTINED, f"is QUARANTINED: {why or problem}", now=now)


@contextmanager
def cleaning(run: Run, gpu: Gpu) -> Iterator[tuple[Session, Gpu]]:
    """Give the row to be written; NotYet when it is another card, or in another state, than was cleaned."""
    with run.writing() as db:
        row = db.get(Gpu, gpu.id, with_for_update=True)
        if row is None or (row.state, row.since, row.proving) != (gpu.state, gpu.since, gpu.proving):
            raise NotYet("it changed meanwhile", 0)
        yield db, row
