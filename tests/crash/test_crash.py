"""Wherever a process dies or a call fails, the end is the same: of every operation, at every call and commit."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.crash.faults import FaultyDatabase, Point, arm, counts, insist, survive
from tests.made_up import Cloud, make_cloud

from cumulet.hosts import Reservation
from cumulet.journal import Fact
from cumulet.networks import ExternalAddress, Network, Nic
from cumulet.reconcile import Due
from cumulet.vms import Vm
from cumulet.vms import operations as verbs

LONG_ENOUGH = 400.0
"""Seconds in which everything comes to rest: a lease, a grace and all looks at the guest."""


@dataclass(frozen=True, slots=True)
class Story:
    """An operation: how the cloud was before, and what is asked of it."""

    before: Callable[[Cloud], object]
    act: Callable[[Cloud], object]


def stopped(cloud: Cloud) -> None:
    cloud.running()
    cloud.ask(verbs.stop_vm)
    cloud.settle()


def running_deaf(cloud: Cloud) -> None:
    cloud.running()
    cloud.host.deaf = True


STORIES = {
    "create": Story(lambda _: None, lambda cloud: cloud.create(start_script="exit 3")),
    "stop": Story(Cloud.running, lambda cloud: cloud.ask(verbs.stop_vm)),
    "stop a deaf guest": Story(running_deaf, lambda cloud: cloud.ask(verbs.stop_vm)),
    "start": Story(stopped, lambda cloud: cloud.ask(verbs.start_vm)),
    "reboot": Story(Cloud.running, lambda cloud: cloud.ask(verbs.reboot_vm)),
    "terminate": Story(Cloud.running, lambda cloud: cloud.ask(verbs.terminate_vm)),
    "expire": Story(lambda cloud: cloud.running(ttl="30s"), lambda _: None),
}


def snapshot(cloud: Cloud) -> dict[str, Any]:
    """All that is there in the end, in names that are the same each time."""
    host, fabric = cloud.host._contents, cloud.fabric
    with cloud.database.reading() as db:
        vms = db.scalars(select(Vm)).all()
        nics = {nic.id for nic in db.scalars(select(Nic))}
        disks = {vm.boot_disk_id for vm in vms}
        return {
            "vms": [
                (vm.name, vm.wanted, vm.state, vm.reboot_pending, vm.crashes, vm.start_script_status)
                for vm in vms
            ],
            "guests": [(bool(vm.agent_at), bool(vm.first_boot_at), vm.power_asked_at) for vm in vms],
            "machines": [(one.power, one.off_reason) for one in host.machines.values()],
            "in step": [host.machines[vm.id].started == vm.started for vm in vms],
            "starts": [log.count(b"\n") for log in host.consoles.values()],
            "disks": (len(host.disks), host.disks.keys() == disks),
            "seeds": len(host.seeds),
            "ports": (len(fabric.ports()), fabric.ports().keys() == nics),
            "paths": (len(fabric.networks()), len(fabric.routers()), db.scalars(select(Network.state)).all()),
            "reserved": db.execute(select(Reservation.vcpus, Reservation.memory_mib)).all(),
            "addresses": len(db.scalars(select(ExternalAddress.address)).all()),
            "due": db.scalars(select(Due.kind).where(Due.since.is_not(None))).all(),
            "journal": told(db.scalars(select(Fact.event).where(Fact.subject == "vm")).all()),
        }


def told(events: Sequence[str]) -> dict[str, bool | int]:
    """What the timeline says: what happened to the machine as often as it did, and what was asked or done about it.

    A client who got no answer asks again and is told of twice, and so is a plug whose puller died over it; a press of
    the power button is told of after it was pressed, and so may be missing.
    """
    often = {event for event in events if event.endswith("_asked") or event == "vm.plug_pulled"}
    return {event: event in often or events.count(event) for event in events if event != "vm.power_button"}


def live(cloud: Cloud, story: Story) -> None:
    """Ask, and let time pass until everything has come to rest."""
    insist(lambda: story.act(cloud))
    survive(cloud, LONG_ENOUGH)


def points(cloud: Cloud, story: Story) -> Iterator[Point]:
    """Every place where this story can be hit; the cloud lives it to find out."""
    before = counts(cloud)
    live(cloud, story)
    for where, count in counts(cloud).items():
        for call in range(1, count - before[where] + 1):
            for after in (False, True):
                for dies in (False, True):
                    yield Point(where, call, after=after, dies=dies)


class Copies:
    """Copies of a cloud on SQLite with all that is in its world: each can go its own way."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        cloud.database.close()
        self._cloud, self._folder, self._made = cloud, folder, 0

    def make(self) -> Cloud:
        self._made += 1
        path = self._folder / f"{self._made}.db"
        shutil.copy(self._cloud.database.engine.url.database, path)
        copy = make_cloud(FaultyDatabase(f"sqlite:///{path}"), self._folder)
        copy.clock.now = self._cloud.clock.now
        copy.host._contents = deepcopy(self._cloud.host._contents)
        copy.host._starts, copy.host.deaf = itertools.count(100), self._cloud.host.deaf
        for things in ("_externals", "_routers", "_networks", "_ports"):
            setattr(copy.fabric, things, dict(getattr(self._cloud.fabric, things)))
        return copy


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_wherever_it_is_hit_the_end_is_the_same(name, cloud, tmp_path):
    story = STORIES[name]
    story.before(cloud)
    copies = Copies(cloud, tmp_path)
    unhurt = copies.make()
    live(unhurt, story)
    expected = snapshot(unhurt)
    differing = {}
    for point in points(copies.make(), story):
        hit = copies.make()
        arm(hit, point)
        live(hit, story)
        end = snapshot(hit)
        hit.database.close()
        if end != expected:
            differing[str(point)] = {
                key: (value, expected[key]) for key, value in end.items() if value != expected[key]
            }
    assert differing == {}
