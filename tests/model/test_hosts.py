"""Whatever operators and owners ask of a few hosts at any moment, with hosts that fail, fall silent and die: each VM runs once, where its row says, with all it held.

Which verbs are accepted when is the business of the tests of each; here any may be refused. `CUMULET_MODEL_EXAMPLES` and
`CUMULET_MODEL_STEPS` let it look longer, `SEED` elsewhere; a failure says its own.
"""

from __future__ import annotations

import os
import random
from contextlib import contextmanager, suppress
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from tests.made_up import PROJECT, Cloud, make_cloud, with_shared_pool
from tests.model.truth import check_nothing_waits
from tests.room import counted, kept
from tests.vms.moving import RUNS, Witness

from cumulet.catalogue import StorageClass, read_catalogue, with_gpus
from cumulet.disks import Disk, DiskType, snapshot_operations, vm_operations
from cumulet.disks import operations as disk_operations
from cumulet.disks.wire import CreateDiskSnapshot, CreateStorageDisk
from cumulet.disks.wire import Disk as DiskRequest
from cumulet.errors import CumuletError
from cumulet.fleet import operations as host_operations
from cumulet.fleet.wire import AskOfHost, DrainHost, LoseHost
from cumulet.gpus import Gpu
from cumulet.hosts import Host, HostState, Reservation
from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.memory import made_up_id
from cumulet.reconcile import Due
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import change_operations, move_operations, operations
from cumulet.vms.wire import MoveVm

pytestmark = pytest.mark.slow

HOSTS = ["memory-1", "memory-2", "memory-3"]
HYPERVISOR = "memory:?hosts=3&memory_gib=12&gpus=1&gpu_model=H100"
VMS, DISKS = ["a", "b", "c"], ["x", "y"]
OF_HOSTS_OWN, SHARED = (
    DiskRequest(storage_class=one, size_gib=1) for one in (StorageClass.LOCAL, StorageClass.NETWORK)
)
WISHES = {
    "a": {"boot_disk": OF_HOSTS_OWN, "metadata": {"cumulet/apart": "web"}},
    "b": {"boot_disk": SHARED, "metadata": {"cumulet/apart": "web"}},
    "c": {"boot_disk": OF_HOSTS_OWN, "machine_type": "standard-h100", "gpus": 1},
}
LONG_ENOUGH = 400.0
"""Seconds: until whoever waits has looked twice, and what nobody has any more is gone."""
SEED = int(os.environ.get("SEED", "1"))
RUNS_OF_IT = int(os.environ.get("CUMULET_MODEL_EXAMPLES", "6"))
STEPS = int(os.environ.get("CUMULET_MODEL_STEPS", "60"))


class AnyHosts:
    """One cloud of three hosts, and all that may happen to them."""

    def __init__(self, cloud: Cloud, patch: pytest.MonkeyPatch) -> None:
        self.cloud = cloud
        self.witness = Witness(cloud, patch)
        with self.cloud.database.reading() as db:
            ids = dict(db.execute(select(Host.name, Host.id)).all())
        self.hosts = {name: self.cloud.hosts[id] for name, id in ids.items()}
        self.held: dict[UUID, str] = {}
        """By disk, what was written to it last."""

    def ask(self, verb, **arguments):
        """Ask for something, which may be refused."""
        with suppress(CumuletError):
            self.cloud.call(verb, **arguments)

    def all_run(self):
        self.settle()
        for id in DISKS:
            data = CreateStorageDisk(data_center_id="local", id=id, size_gib=1)
            self.cloud.call(disk_operations.create_storage_disk, project_id=PROJECT, data=data)
        for id in VMS:
            self.cloud.create(
                vm_id=id, memory_gib=4, storage_disk_ids=DISKS[:1] if id == "a" else [], **WISHES[id]
            )
        self.settle()
        self.write()

    # What owners ask for
    def power(self, id, verb):
        self.ask(verb, project_id=PROJECT, id=id)

    def replace_vm(self, id):
        self.ask(operations.terminate_vm, project_id=PROJECT, id=id)
        with suppress(CumuletError):
            self.cloud.create(vm_id=id, memory_gib=4, **WISHES[id])

    def resize(self, id, memory_gib):
        self.ask(change_operations.resize_vm, project_id=PROJECT, id=id, memory_gib=memory_gib)

    def attach(self, id, vm_id):
        self.ask(vm_operations.attach_storage_disk, project_id=PROJECT, id=id, vm_id=vm_id)

    def detach(self, id):
        self.ask(vm_operations.detach_storage_disk, project_id=PROJECT, id=id)

    def grow(self, vm_id, size_gib):
        self.ask(
            vm_operations.resize_vm_disk,
            project_id=PROJECT,
            id=vm_id,
            disk_id=f"{vm_id}-boot",
            size_gib=size_gib,
        )

    def snapshot(self, id, take):
        if take:
            data = CreateDiskSnapshot(snapshot_id="s")
            self.ask(snapshot_operations.create_disk_snapshot, project_id=PROJECT, id=id, data=data)
        else:
            self.ask(snapshot_operations.delete_disk_snapshot, project_id=PROJECT, id=id, snapshot_id="s")

    # What operators ask for
    def move(self, id, to, restart):
        data = MoveVm(project_id=PROJECT, vm_id=id, host_id=to, restart=restart)
        self.ask(move_operations.move_vm, data=data)

    def abort(self, id):
        self.ask(move_operations.abort_vm_move, id=f"{PROJECT}:{id}")

    def drain(self, name, restart):
        self.ask(host_operations.drain_host, id=name, data=DrainHost(restart=restart))

    def cordon(self, name):
        self.ask(host_operations.cordon_host, id=name, data=AskOfHost())

    def uncordon(self, name):
        self.ask(host_operations.uncordon_host, id=name)

    def remove(self, name):
        """Ask for the end of a host that something is on: it is refused."""
        with self.cloud.database.reading() as db:
            used = db.scalar(
                select(Reservation.holder_id).where(Reservation.host_id == self.id_of(name)).limit(1)
            )
        if used:
            self.ask(host_operations.remove_host, id=name)

    # The world
    def silence(self, name, silent):
        self.hosts[name].unreachable = silent

    def die(self, name, seconds):
        """Take a host's power; its operator says so once it is SILENT."""
        self.hosts[name].unreachable = True
        self.hosts[name].boot()
        self.cloud.clock.advance(seconds)
        self.work(8)
        self.ask(host_operations.lose_host, id=name, data=LoseHost(confirm=name))

    def a_call_fails(self, name, call, after):
        self.hosts[name].crash_on_call(call, HypervisorError("it failed"), after=after)

    def copies_take_time(self, name, step):
        self.hosts[name].copy_step = step

    def work(self, runs):
        for _ in range(runs):
            for claim in self.cloud.reconciler._claim(limit=1):
                self.cloud.reconciler.settle(claim)

    def time_passes(self, seconds):
        self.cloud.clock.advance(seconds)

    def sweep(self):
        self.cloud.sweep()

    def write(self):
        """Have what runs, and is where its row says, write to its disks."""
        with self.cloud.database.reading() as db:
            rows = db.execute(select(Disk, Vm).join(Vm, Vm.id == Disk.vm_id)).all()
        for disk, vm in rows:
            machine = self.cloud.hosts[vm.host_id].contents.machines.get(vm.id)
            if machine and machine.power in RUNS and machine.has(disk.id) and vm.moving_to is None:
                with suppress(HypervisorError):
                    self.held[disk.id] = text = uuid4().hex
                    self.cloud.hosts[vm.host_id].write_disk(disk.id, text)

    def settle(self):
        for name, host in self.hosts.items():
            host._fault, host.unreachable = None, False
            self.ask(host_operations.uncordon_host, id=name)
        self.cloud.sweep()
        self.cloud.pass_time(LONG_ENOUGH)
        self.cloud.sweep()
        self.cloud.settle()
        self.check()

    def check(self):
        assert self.witness.most <= 1, "a VM ran in two places"
        with self.cloud.database.reading() as db:
            hosts, vms, disks, gpus, dues = (
                db.scalars(select(one)).all() for one in (Host, Vm, Disk, Gpu, Due)
            )
            rooms = {row.holder_id: row.host_id for row in db.scalars(select(Reservation))}
            assert kept(db) == counted(db)
        check_nothing_waits(self.cloud, dues)
        assert {host.state for host in hosts} == {HostState.UP}
        assert rooms == {one.id: one.host_id for one in (*vms, *disks)}
        assert [vm.moving_to for vm in vms] == [None] * len(vms)
        apart = [vm.host_id for vm in vms if vm.labels]
        assert len(set(apart)) == len(apart)
        for id, host in self.cloud.hosts.items():
            mine = {vm.id: vm for vm in vms if vm.host_id == id}
            assert host.contents.machines.keys() == mine.keys()
            for vm in mine.values():
                self.check_machine(host, vm, [disk for disk in disks if disk.vm_id == vm.id], gpus)
            there = {
                disk.id: disk.size_gib
                for disk in disks
                if disk.is_made and (disk.host_id == id or disk.pool == "net")
            }
            assert host.disks.list() == there
            held = {one.address for one in gpus if one.host_id == id and one.vm_id}
            assert set(host.contents.used_gpus) <= held
        for disk in disks:
            if disk.id in self.held:
                assert self.cloud.hosts[disk.host_id].read_disk(disk.id) == self.held[disk.id], disk.name

    def check_machine(self, host, vm, disks, gpus):
        machine = host.contents.machines[vm.id]
        assert (machine.power in RUNS) is (vm.state is VmState.ACTIVE), vm.name
        assert vm.state in {VmState.ACTIVE, VmState.STOPPED}
        assert {disk.host_id for disk in disks} == {vm.host_id}
        assert set(machine.spec.disks) == {disk.id for disk in disks if disk.type is DiskType.STORAGE}
        held = sorted(gpu.address for gpu in gpus if gpu.vm_id == vm.id)
        assert [one.functions[0] for one in machine.spec.gpus] == held
        assert len(held) == vm.gpus

    def id_of(self, name):
        return next(id for id, host in self.cloud.hosts.items() if host is self.hosts[name])


FLAGS, POWER = (True, False), (operations.start_vm, operations.stop_vm, operations.reboot_vm)
ACTIONS = {
    AnyHosts.work: (12, range(1, 9)),
    AnyHosts.time_passes: (8, (0.5, 1, 5, 20, 60)),
    AnyHosts.move: (6, VMS, ("", *HOSTS), FLAGS),
    AnyHosts.power: (3, VMS, POWER),
    AnyHosts.abort: (2, VMS),
    AnyHosts.attach: (2, DISKS, VMS),
    AnyHosts.drain: (2, HOSTS, FLAGS),
    AnyHosts.uncordon: (2, HOSTS),
    AnyHosts.silence: (2, HOSTS, FLAGS),
    AnyHosts.die: (2, HOSTS, (0, 20)),
    AnyHosts.a_call_fails: (2, HOSTS, range(1, 13), FLAGS),
    AnyHosts.sweep: (2,),
    AnyHosts.write: (2,),
    AnyHosts.settle: (2,),
    AnyHosts.copies_take_time: (1, HOSTS, (0.3, 1.0)),
    AnyHosts.detach: (1, DISKS),
    AnyHosts.snapshot: (1, (*DISKS, "a-boot", "b-boot"), FLAGS),
    AnyHosts.grow: (1, VMS, range(2, 5)),
    AnyHosts.resize: (1, VMS, range(3, 7)),
    AnyHosts.replace_vm: (1, VMS),
    AnyHosts.cordon: (1, HOSTS),
    AnyHosts.remove: (1, HOSTS),
}
"""How often each happens, beside the others, and what it is given."""


@pytest.fixture
def new_cloud(new_database):
    """Clouds, each new, whose hosts are all far away."""
    offered = with_gpus(with_shared_pool(read_catalogue(None)), "H100", made_up_id("H100"))

    @contextmanager
    def new_cloud():
        with new_database() as (database, folder):
            cloud = make_cloud(database, folder, hypervisor=HYPERVISOR, catalogue=offered)
            with database.writing() as db:
                db.execute(update(Host).values(uri="ssh://root@" + Host.name))
            yield cloud

    return new_cloud


@pytest.mark.timeout(900 if RUNS_OF_IT < 20 else 0)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_any_verbs_at_any_moment_leave_each_vm_once_where_its_row_says_with_all_it_held(new_cloud):
    for seed in range(SEED, SEED + RUNS_OF_IT):
        chance = random.Random(seed)  # noqa: S311 - no secret
        names, weights = [*ACTIONS], [weight for weight, *_ in ACTIONS.values()]
        script = []
        with new_cloud() as cloud, pytest.MonkeyPatch.context() as patch:
            hosts = AnyHosts(cloud, patch)
            hosts.all_run()
            try:
                for action in chance.choices(names, weights, k=STEPS):
                    words = [chance.choice(choices) for choices in ACTIONS[action][1:]]
                    script.append((action.__name__, *(getattr(word, "__name__", word) for word in words)))
                    action(hosts, *words)
                hosts.settle()
            except Exception as problem:
                problem.add_note(f"with SEED={seed}: {script}")
                raise
