"""Making a GPU that no VM holds as good as new: nobody gets it before its host has seen that it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from cumulet.events import EventName
from cumulet.gpus.model import Gpu
from cumulet.gpus.told import log_gpu
from cumulet.gpus.wire import GpuState
from cumulet.hypervisor import GpuInUse, GpuUnclean
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
        find_host(gpu.host_id).gpus.clean(gpu.address)
    except GpuInUse as problem:
        raise NotYet(str(problem), IN_USE_PAUSE) from problem
    except GpuUnclean as problem:
        note_unclean(run, gpu, str(problem))
    else:
        note_clean(run, gpu)


def note_clean(run: Run, gpu: Gpu) -> None:
    """Let VMs have it."""
    with cleaning(run, gpu) as (db, row):
        row.state, row.since, row.cleaned_at, row.failures = GpuState.FREE, run.now, run.now, 0
        log_gpu(db, row.id, EventName.GPU_CLEANED, "is clean and FREE", now=run.now)


def note_unclean(run: Run, gpu: Gpu, problem: str) -> None:
    """Count the failure, and leave it to its operator after some; NotYet before."""
    with cleaning(run, gpu) as (db, row):
        row.failures += 1
        failures = row.failures
        if failures >= TRIES:
            row.state, row.since, row.problem = GpuState.QUARANTINED, run.now, problem
            text = f"is QUARANTINED: it could not be cleaned {failures} times: {problem}"
            log_gpu(db, row.id, EventName.GPU_QUARANTINED, text, now=run.now)
    if failures < TRIES:
        raise NotYet(f"it could not be cleaned and will be tried again: {problem}", PAUSE)


@contextmanager
def cleaning(run: Run, gpu: Gpu) -> Iterator[tuple[Session, Gpu]]:
    """Give the row to be written; NotYet when it is another card, or in another state, than was cleaned."""
    with run.writing() as db:
        row = db.get(Gpu, gpu.id, with_for_update=True)
        if row is None or (row.state, row.since) != (gpu.state, gpu.since):
            raise NotYet("it changed meanwhile", 0)
        yield db, row
