"""Wherever a process dies or a call fails, the end is the same: of every operation, at every call and commit."""

from __future__ import annotations

import itertools
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.crash.faults import FaultyDatabase, Point, Where, arm, counts, insist, survive
from tests.crash.gpu_stories import GPU_STORIES, gpu_cloud, gpu_snapshot
from tests.crash.network_stories import NETWORK_STORIES, network_snapshot
from tests.made_up import PROJECT, Clock, Cloud, make_cloud, two_pools
from tests.projects.people import ed25519_line

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.console.operations import connect_vm
from cumulet.disks import Disk, Snapshot
from cumulet.disks import operations as disk_verbs
from cumulet.disks import snapshot_operations as snapshot_verbs
from cumulet.disks import vm_operations as vm_disk_verbs
from cumulet.disks.wire import CreateDiskSnapshot, CreateStorageDisk
from cumulet.disks.wire import Disk as DiskRequest
from cumulet.fabric.memory import MemoryFabric
from cumulet.hosts import Orphans, Reservation
from cumulet.hosts.orphans import GRACE
from cumulet.hypervisor.memory import MemoryHypervisor
from cumulet.journal import Event
from cumulet.monitoring import sample
from cumulet.networks import ExternalAddress, Network, Nic
from cumulet.private_images import PrivateImage
from cumulet.private_images import create as image_verbs
from cumulet.private_images import operations as private_images
from cumulet.reconcile import Due
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import change_operations as changes
from cumulet.vms import operations as verbs
from cumulet.vms.reconcile import power
from cumulet.vms.retained_logs import KeptLog
from cumulet.vms.wire import UpdateVmAuthorizedSshKeys, UpdateVmExpireTime, UpdateVmMetadata, UpdateVmPassword

pytestmark = pytest.mark.slow

FAST = DiskRequest(storage_class=StorageClass.LOCAL)
"""A boot disk in the second pool."""
A_KEY = ed25519_line(1)
LONG_ENOUGH = 400.0
"""Seconds in which everything comes to rest: a lease, a grace and all looks at the guest."""


@dataclass(frozen=True, slots=True)
class Story:
    """An operation: how the cloud was before, and what is asked of it."""

    before: Callable[[Cloud], object]
    act: Callable[[Cloud], object]


def stopped(cloud: Cloud, **fields: Any) -> None:
    cloud.running(**fields)
    cloud.ask(verbs.stop_vm)
    cloud.settle()


def running_deaf(cloud: Cloud) -> None:
    cloud.running()
    cloud.host.deaf = True


def stalled(cloud: Cloud) -> None:
    cloud.running()
    cloud.host.stall(cloud.row().id)


def faulted(cloud: Cloud) -> None:
    cloud.running()
    cloud.host.fault(cloud.row().id)
    cloud.hear(cloud.row().id)  # a look at its host would go on every half minute, and each one be hit
    cloud.settle()


def ask(cloud: Cloud, verb: Callable[..., Any], **arguments: Any) -> None:
    cloud.call(verb, project_id=PROJECT, id="hello", **arguments)


def relabel(cloud: Cloud) -> None:
    ask(cloud, changes.update_vm_metadata, data=UpdateVmMetadata(metadata={"a": "b"}))


def expire(cloud: Cloud) -> None:
    ask(cloud, changes.update_vm_expire_time, data=UpdateVmExpireTime(ttl="30s"))


def set_password(cloud: Cloud) -> None:
    ask(cloud, changes.update_vm_password, data=UpdateVmPassword(password="aB1!56"))


def authorize(cloud: Cloud) -> None:
    ask(cloud, changes.update_vm_authorized_ssh_keys, data=UpdateVmAuthorizedSshKeys(custom_ssh_keys=[A_KEY]))


def with_disk(cloud: Cloud) -> None:
    cloud.running()
    cloud.attached()


def stopped_with_disk(cloud: Cloud) -> None:
    with_disk(cloud)
    cloud.ask(verbs.stop_vm)
    cloud.settle()


def with_snapshot(cloud: Cloud) -> None:
    stopped_with_disk(cloud)
    cloud.host.write_disk(cloud.disk_row().id, "before")
    take_snapshot(cloud)
    cloud.settle()
    cloud.host.write_disk(cloud.disk_row().id, "after")


def create_disk(cloud: Cloud) -> None:
    data = CreateStorageDisk(data_center_id="local", id="data", size_gib=5, storage_class=StorageClass.LOCAL)
    cloud.call(disk_verbs.create_storage_disk, project_id=PROJECT, data=data)


def attach(cloud: Cloud) -> None:
    cloud.call(vm_disk_verbs.attach_storage_disk, project_id=PROJECT, id="data", vm_id="hello")


def resize(cloud: Cloud) -> None:
    cloud.call(vm_disk_verbs.resize_vm_disk, project_id=PROJECT, id="hello", disk_id="data", size_gib=20)


def take_snapshot(cloud: Cloud) -> None:
    data = CreateDiskSnapshot(snapshot_id="one", vm_id="hello")
    cloud.call(snapshot_verbs.create_disk_snapshot, project_id=PROJECT, id="data", data=data)


def of_snapshot(verb: Callable[..., object]) -> Callable[[Cloud], object]:
    """A verb on the disk's snapshot."""
    return lambda cloud: cloud.call(verb, project_id=PROJECT, id="data", snapshot_id="one")


def take_image(cloud: Cloud) -> None:
    cloud.call(
        image_verbs.create_private_vm_image, project_id=PROJECT, vm_id="hello", id="golden", description="old"
    )


def with_image(cloud: Cloud) -> None:
    cloud.running()
    cloud.host.write_disk(cloud.row().boot_disk_id, "hard work")
    take_image(cloud)
    cloud.settle()


def with_image_half_taken(cloud: Cloud) -> None:
    cloud.running()
    cloud.host.copy_step = 0.1
    take_image(cloud)
    cloud.run()
    cloud.host.copy_step = 1.0


def create_of_image(cloud: Cloud) -> None:
    cloud.create(vm_id="second", boot_disk_image_id="golden")


def describe_image(cloud: Cloud) -> None:
    cloud.call(private_images.update_private_vm_image, project_id=PROJECT, id="golden", description="new")


def delete_image(cloud: Cloud) -> None:
    cloud.ask(private_images.delete_private_vm_image, "golden")


def crowded(cloud: Cloud) -> None:
    """One that runs has most of the host, and one waits for as much."""
    most = cloud.host.facts().memory_mib // 1024 * 2 // 3
    cloud.running(vcpus=4, memory_gib=most)
    cloud.create(vm_id="waits", vcpus=4, memory_gib=most, queue=True)


STORIES = {
    "create": Story(lambda _: None, lambda cloud: cloud.create(start_script="exit 3", boot_disk=FAST)),
    "stop": Story(Cloud.running, lambda cloud: cloud.ask(verbs.stop_vm)),
    "stop a deaf guest": Story(running_deaf, lambda cloud: cloud.ask(verbs.stop_vm)),
    "start": Story(stopped, lambda cloud: cloud.ask(verbs.start_vm)),
    "reboot": Story(Cloud.running, lambda cloud: cloud.ask(verbs.reboot_vm)),
    "stop after a fault": Story(faulted, lambda cloud: cloud.ask(verbs.stop_vm)),
    "go on": Story(stalled, lambda cloud: cloud.hear(cloud.row().id)),
    "connect": Story(Cloud.running, lambda cloud: cloud.ask(connect_vm)),
    "terminate": Story(Cloud.running, lambda cloud: cloud.ask(verbs.terminate_vm)),
    "change the size": Story(stopped, lambda cloud: ask(cloud, changes.resize_vm, vcpus=3)),
    "relabel": Story(Cloud.running, relabel),
    "expire anew": Story(Cloud.running, expire),
    "change the password": Story(Cloud.running, set_password),
    "change the keys": Story(Cloud.running, authorize),
    "measure": Story(Cloud.running, Cloud.measure),
    "get room": Story(crowded, lambda cloud: cloud.ask(verbs.terminate_vm)),
    "expire": Story(lambda cloud: cloud.running(ttl="30s"), lambda _: None),
    "create a disk": Story(lambda _: None, create_disk),
    "delete a disk": Story(
        Cloud.create_disk, lambda cloud: cloud.ask(disk_verbs.delete_storage_disk, "data")
    ),
    "delete a disk that was used": Story(
        Cloud.used_disk, lambda cloud: cloud.ask(disk_verbs.delete_storage_disk, "data")
    ),
    "create with a disk": Story(Cloud.create_disk, lambda cloud: cloud.create(storage_disk_ids=["data"])),
    "attach": Story(lambda cloud: (cloud.running(), cloud.create_disk()), attach),
    "attach while off": Story(lambda cloud: (stopped(cloud), cloud.create_disk()), attach),
    "detach": Story(with_disk, lambda cloud: cloud.ask(vm_disk_verbs.detach_storage_disk, "data")),
    "detach while off": Story(
        stopped_with_disk, lambda cloud: cloud.ask(vm_disk_verbs.detach_storage_disk, "data")
    ),
    "resize": Story(with_disk, resize),
    "resize while off": Story(stopped_with_disk, resize),
    "take a snapshot": Story(stopped_with_disk, take_snapshot),
    "revert": Story(with_snapshot, of_snapshot(snapshot_verbs.revert_disk)),
    "delete a snapshot": Story(with_snapshot, of_snapshot(snapshot_verbs.delete_disk_snapshot)),
    "terminate with a disk": Story(with_disk, lambda cloud: cloud.ask(verbs.terminate_vm)),
    "take an image": Story(Cloud.running, take_image),
    "take an image while off": Story(lambda cloud: stopped(cloud, boot_disk=FAST), take_image),
    "describe an image": Story(with_image, describe_image),
    "delete an image": Story(with_image, delete_image),
    "give an image up": Story(with_image_half_taken, delete_image),
    "terminate while an image is taken": Story(
        with_image_half_taken, lambda cloud: cloud.ask(verbs.terminate_vm)
    ),
    "create of an image": Story(with_image, create_of_image),
} | {name: Story(before, act) for name, (before, act) in (NETWORK_STORIES | GPU_STORIES).items()}


def snapshot(cloud: Cloud) -> dict[str, Any]:
    """All that is there in the end, in names that are the same each time."""
    host, fabric = cloud.host.contents, cloud.fabric
    with cloud.database.reading() as db:
        vms = db.scalars(select(Vm)).all()
        nics = {nic.id for nic in db.scalars(select(Nic))}
        disks = db.scalars(select(Disk).order_by(Disk.name)).all()
        snapshots = db.scalars(select(Snapshot)).all()
        return (
            network_snapshot(cloud)
            | gpu_snapshot(cloud)
            | {
                "vms": [
                    (vm.name, vm.wanted, vm.state, vm.reboot_pending, vm.crashes, vm.start_script_status)
                    for vm in vms
                ],
                "guests": [(bool(vm.agent_at), bool(vm.first_boot_at), vm.power_asked_at) for vm in vms],
                "sizes": [(one.spec.vcpus, one.spec.memory_mib) for one in host.machines.values()],
                "labels": [vm.labels for vm in vms],
                "logins": [(vm.credentials_pending, host.machines[vm.id].keys) for vm in vms],
                "passwords": [host.machines[vm.id].password_hash == vm.password_hash for vm in vms],
                "machines": [(one.power, one.off_reason) for one in host.machines.values()],
                "in step": [host.machines[vm.id].started == vm.started for vm in vms],
                "last words": [zlib.decompress(kept) for kept in db.scalars(select(KeptLog.content))],
                "starts": [log.count(b"\n") for log in host.consoles.values()],
                "disks": [
                    (disk.name, disk.wanted, disk.state, bool(disk.vm_id), disk.size_gib, disk.pool)
                    for disk in disks
                ],
                "volumes": (len(host.disks), host.disks.keys() == {disk.id for disk in disks}),
                "contents": sorted(
                    (disk.spec.pool, disk.size_gib, disk.content, len(disk.snapshots))
                    for disk in host.disks.values()
                ),
                "snapshots": [(one.name, one.made, one.deleting) for one in snapshots],
                "plugged": [(len(one.spec.disks), len(one.plugged)) for one in host.machines.values()],
                "images": [
                    (one.name, one.description, one.state, one.taken_from, one.problem)
                    for one in db.scalars(select(PrivateImage))
                ],
                "captures": len(host.captures),
                "image files": cloud.images.private_ids() >= set(db.scalars(select(PrivateImage.id))),
                "seeds": len(host.seeds),
                "ports": (len(fabric.ports()), fabric.ports().keys() == nics),
                "paths": (
                    len(fabric.networks()),
                    len(fabric.routers()),
                    db.scalars(select(Network.state)).all(),
                ),
                "reserved": sorted(
                    (one.vcpus, one.memory_mib, one.disk_gib, one.pool)
                    for one in db.scalars(select(Reservation))
                ),
                "addresses": len(db.scalars(select(ExternalAddress.address)).all()),
                "due": db.scalars(select(Due.kind).where(Due.since.is_not(None))).all(),
                "journal": told(
                    db.scalars(select(Event.event).where(Event.subject.in_(("vm", "disk")))).all()
                ),
            }
        )


def told(events: Sequence[str]) -> dict[str, bool | int]:
    """What the timeline says: what happened to the machine as often as it did, and what was asked or done about it.

    A client who got no answer asks again and is told of twice, and so is a plug whose puller died over it; a press of
    the power button is told of after it was pressed, and so may be missing.
    """
    often = {event for event in events if event.endswith("_requested") or event == "vm.forced_off"}
    return {event: event in often or events.count(event) for event in events if event != "vm.shutdown_sent"}


def live(cloud: Cloud, story: Story) -> None:
    """Ask, and let time pass until everything has come to rest."""
    insist(lambda: story.act(cloud))
    survive(cloud, LONG_ENOUGH)


def look_at_everything(cloud: Cloud) -> None:
    """Have hosts and fabric looked at, twice, so that the grace of what was left without an owner is over."""
    for _ in range(2):
        cloud.sweep()
        cloud.clock.advance(GRACE.total_seconds() + 1)
    cloud.settle()


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
    """Copies of a cloud with all that is in its world, one after the other: each begins where the first one stood."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        cloud.database.close()
        self._cloud, self._saved = cloud, folder / "saved.db"
        self._database = FaultyDatabase(cloud.database.url)
        self._path = self._database.engine.url.database
        shutil.copy(self._path, self._saved)

    def make(self) -> Cloud:
        """The one database takes its old content back: it keeps what SQLAlchemy has compiled."""
        self._database._versions.close()
        self._database.engine.dispose()
        self._database.fault = None
        shutil.copy(self._saved, self._path)
        first = self._cloud
        host, fabric = MemoryHypervisor(first.host.facts()), MemoryFabric()
        host.contents, host.deaf = deepcopy(first.host.contents), first.host.deaf
        host.host_gpus = first.host.host_gpus
        host.starts = itertools.count(100)
        fabric.known_chassis = first.fabric.known_chassis
        for things in ("_externals", "_routers", "_networks", "_ports", "_groups"):
            setattr(fabric, things, dict(getattr(first.fabric, things)))
        fabrics = replace(
            first.backends.fabrics,
            fabric=fabric,
            open_uplink=lambda _, bridge: fabric.lead_out(bridge),
            orphans=Orphans(),
        )
        backends = replace(first.backends, hosts={first.host_id: host}, fabrics=fabrics)
        copy = replace(
            first,
            database=self._database,
            clock=Clock(),
            fabric=fabric,
            backends=backends,
            hosts=backends.hosts,
        )
        copy.clock.now = first.clock.now
        return copy

    def end_of(self, story: Story, point: Point | None = None) -> dict[str, Any]:
        """What is there after the story, hit at that point."""
        cloud = self.make()
        if point:
            arm(cloud, point)
        live(cloud, story)
        look_at_everything(cloud)
        return snapshot(cloud)


@pytest.fixture
def cloud(database, tmp_path, request):
    """A cloud with two disk pools, for some stories with GPUs."""
    if request.node.callspec.params.get("name") in GPU_STORIES:
        return gpu_cloud(database, tmp_path)
    return make_cloud(database, tmp_path, catalogue=two_pools(read_catalogue(None)))


@pytest.fixture
def few_presses(monkeypatch):
    """One press of the power button stands for all: each would be hit in the same way."""
    monkeypatch.setattr(power, "ASK_AGAIN", power.STOP_GRACE.total_seconds())


@pytest.fixture
def few_samples(monkeypatch):
    """Two samples stand for all."""
    monkeypatch.setattr(sample, "EVERY", timedelta(seconds=LONG_ENOUGH * 0.75))


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_wherever_it_is_hit_the_end_is_the_same(name, cloud, tmp_path, few_presses, few_samples):
    story = STORIES[name]
    story.before(cloud)
    copies = Copies(cloud, tmp_path)
    expected = copies.end_of(story)
    ends = {str(point): copies.end_of(story, point) for point in points(copies.make(), story)}
    assert differences(ends, expected) == {}


def differences(ends: dict[str, dict[str, Any]], expected: dict[str, Any]) -> dict[str, Any]:
    """Of each end that is another one, what was expected and what came."""
    return {
        point: {key: (value, expected[key]) for key, value in end.items() if value != expected[key]}
        for point, end in ends.items()
        if end != expected
    }


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_sample_of_it_on_postgresql(cloud):
    cloud.database = FaultyDatabase(cloud.database.url)
    cloud.reconciler = cloud.new_reconciler()
    cloud.running()
    for call in range(1, 7):
        for verb, state in ((verbs.stop_vm, VmState.STOPPED), (verbs.start_vm, VmState.ACTIVE)):
            arm(cloud, Point(Where.COMMIT, call, after=call % 2 == 0, dies=True))
            live(cloud, Story(lambda _: None, lambda cloud, verb=verb: cloud.ask(verb)))
            assert (call, cloud.vm().state) == (call, state)
    arm(cloud, Point(Where.HOST, 3, after=True, dies=True))
    live(cloud, STORIES["terminate"])
    assert snapshot(cloud)["volumes"] == (0, True)
    assert snapshot(cloud)["reserved"] == []
    cloud.database.close()
