"""A made-up cloud whose host has GPUs, and what tests do to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import select
from tests.made_up import Cloud

from cumulet.gpus import Gpu, give_back, hold
from cumulet.journal import Event

URI = "memory:?gpus=2&gpu_model=H100"


def rows(cloud: Cloud) -> Sequence[Gpu]:
    """The rows of all GPUs, by address."""
    with cloud.database.reading() as db:
        return db.scalars(select(Gpu).order_by(Gpu.address)).all()


def told(cloud: Cloud, subject: str = "gpu") -> list[tuple[str, str]]:
    """What the journal tells of them, in order: names and texts."""
    with cloud.database.reading() as db:
        found = db.scalars(select(Event).where(Event.subject == subject).order_by(Event.id))
        return [(event.event, event.text) for event in found]


def refit(cloud: Cloud, **changes: Any) -> None:
    """Let the first card be otherwise."""
    first, *others = cloud.host.host_gpus.gpus
    cloud.host.host_gpus = replace(cloud.host.host_gpus, gpus=(replace(first, **changes), *others))


def take_out(cloud: Cloud) -> None:
    """Take the first card out."""
    cloud.host.host_gpus = replace(cloud.host.host_gpus, gpus=cloud.host.host_gpus.gpus[1:])


def look_later(cloud: Cloud) -> None:
    """Look at all hosts again half a minute later."""
    cloud.clock.advance(30)
    cloud.sweep()


def held(cloud: Cloud, count: int = 1) -> UUID:
    """Let a VM hold the first GPUs."""
    vm_id = cloud.create(memory_gib=1).id
    id = cloud.row(vm_id).id
    with cloud.database.writing() as db:
        hold(db, id, [row.id for row in rows(cloud)[:count]], now=cloud.clock())
    return id


def given_back(cloud: Cloud, vm_id: UUID) -> None:
    """Let it give them back."""
    with cloud.database.writing() as db:
        give_back(db, vm_id, now=cloud.clock())
    cloud.run()
