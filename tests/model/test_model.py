"""Any verbs, in any order, at any moment of the reconcilers, on hosts that fail and with guests that do as they like.

Each run keeps what its owner was told; when the cloud has settled, that is so, and so are host and fabric.
`CUMULET_MODEL_EXAMPLES` and `CUMULET_MODEL_STEPS` let it look longer, and elsewhere each time.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.made_up import Cloud, make_cloud
from tests.model.told import COUNTED, DiskRecord, Told, VmRecord
from tests.model.truth import check, check_shown
from tests.model.verbs import Verbs

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.disks import Disk, Snapshot
from cumulet.errors import CumuletError, Refused
from cumulet.fabric import FabricError
from cumulet.hosts import Reservation
from cumulet.hosts.orphans import GRACE
from cumulet.hypervisor import HypervisorError, Power
from cumulet.hypervisor.memory import made_up_id
from cumulet.networks import Network, Nic
from cumulet.networks.model import Router
from cumulet.private_images import PrivateImage
from cumulet.security_groups import SecurityGroup
from cumulet.vm_record import Vm

pytestmark = pytest.mark.slow

TABLES = (Vm, Disk, Snapshot, PrivateImage, Network, Router, SecurityGroup, Nic, Reservation)
VM_IDS, DISK_IDS, SNAPSHOT_IDS = (st.sampled_from(ids) for ids in (["a", "b"], ["c", "d"], ["s", "t"]))
WAITING_IDS = st.sampled_from(["a", "b", "v", "w"])
IMAGE_IDS, NETWORK_IDS, GROUP_IDS = (st.sampled_from(ids) for ids in (["i", "j"], ["n", "m"], ["g", "h"]))
POWER_VERBS = ["start", "stop", "reboot"]
ANY_DISK = st.sampled_from(["a-boot", "b-boot", "c", "d"])
DEFAULT_NETWORK = "default-local"
GPU_HOST = "memory:?gpus=2&gpu_model=H100"
LEVERS = ("deaf", "mute", "clinging", "stubborn", "unreachable")
DEEP = "CUMULET_MODEL_EXAMPLES" in os.environ
AFTER_GRACE = GRACE.total_seconds() + 1


def some(*verbs):
    """Draw one to three of these, to be asked for one right after another."""
    return st.lists(st.sampled_from(verbs), min_size=1, max_size=3, unique=True)


class AnyVerbs(RuleBasedStateMachine):
    """One cloud with one host, and all that may happen to it."""

    def __init__(self, new_cloud) -> None:
        super().__init__()
        self.doors = ExitStack()
        self.cloud: Cloud = self.doors.enter_context(new_cloud())
        self.ask, self.told = Verbs(self.cloud), Told(self.cloud)
        self.numbers = count(1)
        self.cloud.host.on_change(self.cloud.hear)
        self.in_a_reconciler = False
        self.wrong: AssertionError | None = None

    def asked(self, verb, *words, **more) -> bool:
        """Ask as the edge does: what passes is asked for once more when all has settled, and must not pass again."""
        refused = self.refusal(verb, *words, **more)
        if refused and refused.passing and not self.in_a_reconciler:
            self.settle()
            refused = self.refusal(verb, *words, **more)
            assert not (refused and refused.passing), f"still {refused}"
        return refused is None

    def refusal(self, verb, *words, **more) -> CumuletError | None:
        self.notice_ends()
        against, no_room = getattr(self.told, verb)(*words, **more), self.told.no_room()
        try:
            getattr(self.ask, verb)(*words, **more)
        except CumuletError as refused:
            if not refused.passing and name_of(refused) not in against | no_room:
                raise AssertionError(f"{refused}; it is wrong for {against or 'no reason'}") from refused
            return refused
        assert not against, verb
        return None

    def notice_ends(self):
        """Forget the VMs whose time was over."""
        for id, vm in list(self.told.vms.items()):
            if self.told.state(id) in {"", "DELETING"}:
                assert not vm.protected
                assert vm.ends is not None
                assert vm.ends <= self.cloud.clock()
                self.forget(id)

    def forget(self, id):
        self.told.ending[id] = self.told.vms.pop(id)
        self.told.disks.pop(f"{id}-boot")
        for disk in self.told.disks.values():
            disk.vm = "" if disk.vm == id else disk.vm

    @initialize()
    def one_vm_runs_and_one_is_stopped(self):
        self.settle()
        for vm_id, disk_id, gpus in (("a", "c", 0), ("b", "d", 1)):
            self.create_disk(disk_id, 2)
            self.create_vm(vm_id, "micro", {disk_id}, [], "", gpus)
        self.settle()
        self.vm_verb("b", "stop")
        self.settle()

    # VMs
    @rule(
        id=VM_IDS,
        image=st.one_of(st.just("micro"), IMAGE_IDS),
        disks=st.sets(DISK_IDS),
        networks=st.one_of(st.just([]), st.lists(NETWORK_IDS, max_size=3)),
        group=st.one_of(st.just(""), GROUP_IDS),
        gpus=st.integers(0, 2),
    )
    def create_vm(self, id, image, disks, networks, group, gpus):
        words = {"image": image, "disks": disks, "networks": networks, "group": group, "gpus": gpus}
        if self.asked("create_vm", id, **words):
            self.note_vm(id, **words)

    @rule(
        id=WAITING_IDS,
        disks=st.sets(DISK_IDS),
        networks=st.one_of(st.just([]), st.lists(NETWORK_IDS, max_size=1)),
        gpus=st.integers(0, 2),
        seconds=st.sampled_from([30, 3600]),
    )
    def queue_vm(self, id, disks, networks, gpus, seconds):
        """Ask for one that waits where there is no room."""
        words = {"image": "micro", "disks": disks, "networks": networks, "group": "", "gpus": gpus}
        self.cloud.clock.advance(0.001)  # who comes at the same instant has no order
        must_wait, silent = self.told.must_wait(gpus), self.told.no_room()
        deadline = self.cloud.clock() + timedelta(seconds=seconds)
        if not self.asked("queue_vm", id, **words, seconds=seconds):
            return
        self.note_vm(id, **words)
        if self.cloud.vm(id).queue_deadline is None:
            assert not must_wait
        else:
            assert must_wait or silent
            self.told.vms[id].waits = deadline

    def note_vm(self, id, *, image, disks, networks, group, gpus):
        groups = {group} - {""}
        self.told.vms[id] = VmRecord(
            image,
            set(networks or [DEFAULT_NETWORK]),
            groups,
            memory_gib=4,
            gpus=gpus,
            came=next(self.numbers),
        )
        if not networks:
            self.told.networks[DEFAULT_NETWORK] = "ACTIVE"
        self.told.disks[f"{id}-boot"] = DiskRecord(self.cloud.disk(f"{id}-boot").size_gib, id)
        for disk in disks:
            self.told.disks[disk].vm = id

    @rule(id=VM_IDS, verbs=st.permutations(POWER_VERBS), at_rest=st.booleans())
    def vm_verbs(self, id, verbs, at_rest):
        if at_rest:
            self.settle()
        for verb in verbs:
            self.vm_verb(id, verb)

    def vm_verb(self, id, verb):
        if not self.asked("vm", verb, id) or id not in self.told.vms:
            return
        if verb == "terminate":
            self.forget(id)
        else:
            self.told.vms[id].power = {"STOPPED"} if verb == "stop" else {"ACTIVE"}

    @rule(id=VM_IDS)
    def terminate(self, id):
        self.vm_verb(id, "terminate")

    @rule(calls=st.integers(1, 6), id=VM_IDS, verb=st.sampled_from([*POWER_VERBS, "terminate"]))
    def vm_verb_in_a_reconciler(self, calls, id, verb):
        """Ask when the host has been called so often."""
        host = self.cloud.host
        tell, left = type(host)._notify_changes, [calls]

        def tell_and_ask():
            tell(host)
            left[0] -= 1
            if not left[0]:
                del host._notify_changes
                self.ask_in_a_reconciler(id, verb)

        host._notify_changes = tell_and_ask

    def ask_in_a_reconciler(self, id, verb):
        """Keep what is wrong for later: the reconciler takes whatever is raised for a failure of its own, and goes on."""
        self.in_a_reconciler = True
        try:
            self.vm_verb(id, verb)
        except AssertionError as wrong:
            self.wrong = wrong
        self.in_a_reconciler = False

    @rule(id=VM_IDS, memory_gib=st.integers(1, 8))
    def resize_vm(self, id, memory_gib):
        if self.asked("resize_vm", id, memory_gib):
            self.told.vms[id].memory_gib = memory_gib

    @rule(id=VM_IDS, gpus=st.integers(1, 2))
    def resize_gpus(self, id, gpus):
        if self.asked("resize_gpus", id, gpus):
            self.told.vms[id].gpus = gpus

    @rule(id=VM_IDS, verb=st.sampled_from(["set_password", "set_keys"]))
    def let_in(self, id, verb):
        self.asked(verb, id)

    @rule(id=VM_IDS, value=st.sampled_from(["x", "y"]))
    def label(self, id, value):
        if self.asked("label", id, value) and id in self.told.vms:
            self.told.vms[id].labels = {"label": value}

    @rule(id=VM_IDS, seconds=st.sampled_from([1, 60, 3600]))
    def expire(self, id, seconds):
        if self.asked("expire", id, seconds):
            self.told.vms[id].ends = self.cloud.clock() + timedelta(seconds=seconds)

    @rule(id=VM_IDS, on=st.booleans())
    def protect(self, id, on):
        if self.asked("protect", id, on=on) and id in self.told.vms:
            self.told.vms[id].protected = on

    @rule(id=DISK_IDS, on=st.booleans())
    def protect_disk(self, id, on):
        if self.asked("protect_disk", id, on=on) and id in self.told.disks:
            self.told.disks[id].protected = on

    @rule(
        name=st.sampled_from(sorted(COUNTED)),
        room=st.one_of(st.none(), st.integers(-1, 2)),
        vm_id=VM_IDS,
        disk_id=DISK_IDS,
        more=st.integers(1, 3),
    )
    def limit(self, name, room, vm_id, disk_id, more):
        """Set a quota near what is there, and ask for more at once."""
        most = None if room is None else max(self.told.has(name) + room, 0)
        assert self.asked("limit", name, most)
        self.told.limits[name] = most
        if vm_id in self.told.vms:
            self.resize_vm(vm_id, self.told.vms[vm_id].memory_gib + more)
        if disk_id in self.told.disks:
            self.grow(vm_id, disk_id, self.told.disks[disk_id].size_gib + more)
        self.create_disk(disk_id, more)

    # Disks and images
    @rule(id=DISK_IDS, size_gib=st.integers(1, 5))
    def create_disk(self, id, size_gib):
        if self.asked("create_disk", id, size_gib):
            self.told.disks[id] = DiskRecord(size_gib, "")

    @rule(id=DISK_IDS)
    def delete_disk(self, id):
        if self.asked("delete_disk", id):
            self.told.disks.pop(id, None)

    @rule(id=DISK_IDS, vm_id=VM_IDS, verbs=some("attach", "detach"))
    def plug(self, id, vm_id, verbs):
        for verb in verbs:
            if verb == "detach" and self.asked("detach", id):
                self.told.disks[id].vm = ""
            elif verb == "attach" and self.asked("attach", id, vm_id):
                self.told.disks[id].vm = vm_id

    @rule(vm_id=VM_IDS, id=ANY_DISK, size_gib=st.integers(1, 9))
    def grow(self, vm_id, id, size_gib):
        if self.asked("grow", vm_id, id, size_gib):
            self.told.disks[id].size_gib = size_gib

    @rule(id=ANY_DISK, name=SNAPSHOT_IDS, verbs=some("take", "revert", "forget"))
    def snapshots(self, id, name, verbs):
        for verb in verbs:
            accepted = self.asked("snapshot", verb, id, name)
            if accepted and verb == "take":
                self.told.disks[id].snapshots[name] = self.told.disks[id].size_gib
            elif accepted and verb == "forget":
                del self.told.disks[id].snapshots[name]

    @rule(vm_id=VM_IDS, id=IMAGE_IDS, verbs=some("take", "delete"))
    def images(self, vm_id, id, verbs):
        for verb in verbs:
            if verb == "take" and self.asked("take_image", vm_id, id):
                self.told.images[id] = self.told.disks[f"{vm_id}-boot"].size_gib
            elif verb == "delete" and self.asked("delete_image", id):
                self.told.images.pop(id, None)

    # Networks and groups
    @rule(id=NETWORK_IDS, verbs=some("create", "start", "stop", "delete"))
    def networks(self, id, verbs):
        for verb in verbs:
            if not self.asked("network", verb, id):
                continue
            if verb == "delete":
                self.told.networks.pop(id, None)
            else:
                self.told.networks[id] = "STOPPED" if verb == "stop" else "ACTIVE"

    @rule(id=GROUP_IDS, verbs=some("create", "change", "delete"))
    def groups(self, id, verbs):
        for verb in verbs:
            if self.asked("group", verb, id) and verb != "change":
                (set.add if verb == "create" else set.discard)(self.told.groups, id)

    @rule(id=GROUP_IDS, vm_id=VM_IDS, verbs=some("attach_group", "detach_group"))
    def groups_of_a_vm(self, id, vm_id, verbs):
        for verb in verbs:
            if self.asked(verb, id, vm_id):
                vm = self.told.vms.get(vm_id) or self.told.ending[vm_id]
                (set.add if verb == "attach_group" else set.discard)(vm.groups, id)

    # The world
    @rule(runs=st.integers(1, 8))
    def work(self, runs):
        for _ in range(runs):
            for claim in self.cloud.reconciler._claim(limit=1):
                self.cloud.reconciler.settle(claim)

    @rule(seconds=st.sampled_from([0.1, 1, 5, 60]))
    def time_passes(self, seconds):
        self.cloud.clock.advance(seconds)

    @rule(call=st.integers(1, 12), after=st.booleans(), of_host=st.booleans())
    def a_call_fails(self, call, after, of_host):
        broken = (self.cloud.host, HypervisorError) if of_host else (self.cloud.fabric, FabricError)
        broken[0].crash_on_call(call, broken[1]("it failed"), after=after)

    @rule(lever=st.sampled_from(LEVERS), on=st.booleans())
    def lever(self, lever, on):
        setattr(self.cloud.host, lever, on)

    @rule(step=st.sampled_from([0.3, 1.0]))
    def copies_take_time(self, step):
        self.cloud.host.copy_step = step

    @rule(id=VM_IDS, how=st.sampled_from(["guest_powers_off", "kill", "stall"]))
    def machine_ends(self, id, how):
        machines = self.cloud.host.contents.machines
        vm_id = self.cloud.row(id).id if id in self.told.vms and self.told.state(id) else None
        if vm_id in machines and machines[vm_id].power is not Power.OFF:
            getattr(self.cloud.host, how)(vm_id)
            self.told.vms[id].power |= {"STOPPED"} if how == "guest_powers_off" else set()

    @rule()
    def sweep(self):
        self.cloud.sweep()

    @rule()
    def settle(self):
        self.repair()
        self.cloud.sweep()
        self.cloud.settle()
        self.cloud.sweep()
        self.cloud.settle()
        if self.wrong:
            raise self.wrong
        self.notice_ends()
        check(self.cloud)
        check_shown(self.cloud, self.told)

    def repair(self):
        host, fabric = self.cloud.host, self.cloud.fabric
        host._fault = fabric._fault = None
        for lever in LEVERS:
            setattr(host, lever, False)

    def teardown(self):
        try:
            self.settle()
            self.delete_everything()
        finally:
            self.doors.close()

    def delete_everything(self):
        for id in list(self.told.vms):
            self.protect(id, on=False)
            self.vm_verb(id, "terminate")
        for id, disk in self.told.disks.items():
            if disk.protected:
                self.protect_disk(id, on=False)
        self.settle()
        for verb, ids in (
            (["delete_disk"], self.told.disks),
            (["delete_image"], self.told.images),
            (["group", "delete"], self.told.groups),
            (["network", "delete"], self.told.networks),
        ):
            for id in ids:
                assert self.asked(*verb, id), id
        self.cloud.settle()
        self.cloud.pass_time(AFTER_GRACE)
        self.cloud.sweep()
        check(self.cloud)
        left = {table.__name__: count for table in TABLES if (count := self.cloud.count(table))}
        assert left == {}


def name_of(refused):
    return refused.reason if isinstance(refused, Refused) else type(refused).__name__


@pytest.fixture
def new_cloud(new_database):
    """Clouds, each new."""
    offered = with_gpus(read_catalogue(None), "H100", made_up_id("H100"))

    @contextmanager
    def new_cloud():
        with new_database() as (database, folder):
            yield make_cloud(database, folder, hypervisor=GPU_HOST, catalogue=offered)

    return new_cloud


@pytest.mark.timeout(0 if DEEP else 900)
def test_any_verbs_at_any_moment_end_as_their_owner_was_told(new_cloud, database_kind):
    few = 40 if database_kind == "sqlite" else 5
    bounds = settings(
        max_examples=int(os.environ.get("CUMULET_MODEL_EXAMPLES", few)),
        stateful_step_count=int(os.environ.get("CUMULET_MODEL_STEPS", "30")),
        derandomize=not DEEP,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: AnyVerbs(new_cloud), settings=bounds)
