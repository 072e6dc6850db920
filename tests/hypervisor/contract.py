"""What every Hypervisor must do: subclassed for each of them, with the fixtures named below.

`host` has the disk pools `local` and `fast`, `image` is one for its disks, `kill` ends a machine's process, `written` and
`read` are what a guest does to a disk, and `unmounted` has the file system of `fast` not mounted for a while.
"""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from cumulet.hypervisor import (
    MOST_STORAGE_DISKS,
    NO_GUEST,
    BaseImage,
    DiskSpec,
    Domain,
    DomainSpec,
    GuestSilent,
    Hypervisor,
    HypervisorError,
    ImageName,
    ImageOrder,
    ImageTaking,
    MachineOff,
    NicSpec,
    OffReason,
    Power,
    Seed,
    TakenFrom,
    spec_digest,
)

T = TypeVar("T")
HASH = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"


def eventually(look: Callable[[], T], within: float = 120.0) -> T:
    """Look until the answer is truthy, and return it."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {within:g} s"
        time.sleep(0.01)
    return seen


def a_seed(vm_id: UUID, start_script: str = "") -> Seed:
    return Seed(
        vm_id=vm_id,
        instance_id=str(vm_id),
        hostname="hello",
        ssh_keys=(),
        password_hash="",
        start_script=start_script,
    )


def copy_image(host: Hypervisor, image: BaseImage) -> None:
    eventually(lambda: host.ensure_image_copy(image).ready)


def a_spec(image: BaseImage) -> DomainSpec:
    return DomainSpec(
        id=uuid4(),
        name="hello",
        project="default",
        vcpus=1,
        memory_mib=256,
        topology=None,
        boot_disk=uuid4(),
        boot_image=ImageName(image.sha256, image.format),
        disks=(),
        nics=(),
    )


def an_order(spec: DomainSpec, folder: Path) -> ImageOrder:
    """An image of a machine's boot disk."""
    return ImageOrder(uuid4(), spec.boot_disk, spec.id, folder / "image.qcow2")


def taken(host: Hypervisor, order: ImageOrder) -> ImageTaking:
    """An image once it is whole; what goes wrong is told."""

    def look() -> ImageTaking | None:
        taking = host.ensure_image_taken(order)
        assert not taking.error
        return taking if taking.taken_from else None

    return eventually(look)


def prepare(
    host: Hypervisor, image: BaseImage, spec: DomainSpec, *, pool: str = "local", start_script: str = ""
) -> None:
    """All that a machine needs before its start."""
    copy_image(host, image)
    host.create_disk(DiskSpec(spec.boot_disk, image.size_gib + 1, image, pool))
    host.write_seed(a_seed(spec.id, start_script))
    host.define(spec)


def found(host: Hypervisor, vm_id: UUID) -> Domain:
    domain = host.domain(vm_id)
    assert domain is not None
    return domain


def heard(line: socket.socket, count: int) -> bytes:
    """The next bytes."""
    line.settimeout(30)
    data = b""
    while len(data) < count:
        more = line.recv(count - len(data))
        assert more, f"it ended after {data!r}"
        data += more
    return data


def open_sockets() -> int:
    """How many this process has."""
    return sum(link.is_socket() for link in Path("/proc/self/fd").iterdir())


@contextmanager
def changes_of(host: Hypervisor, vm_id: UUID) -> Iterator[threading.Event]:
    seen = threading.Event()
    host.on_change(lambda changed: seen.set() if changed == vm_id else None)
    yield seen


class HypervisorContract:
    """Machines whose guests need not boot."""

    @pytest.fixture
    def spec(self, image: BaseImage, host: Hypervisor) -> Iterator[DomainSpec]:
        spec = a_spec(image)
        yield spec
        host.undefine(spec.id)
        host.remove_disk(spec.boot_disk)
        host.remove_seed(spec.id)
        host.remove_console_log(spec.id)

    @pytest.fixture(params=["local", "fast"])
    def empty_disk(
        self, host: Hypervisor, spec: DomainSpec, request: pytest.FixtureRequest
    ) -> Iterator[UUID]:
        """A disk of 1 GiB with nothing on it, in either pool; goes when the machine has gone."""
        id = uuid4()
        host.create_disk(DiskSpec(id, 1, None, request.param))
        yield id
        host.undefine(spec.id)
        host.remove_disk(id)

    @pytest.fixture
    def fast_disk(self, host: Hypervisor, spec: DomainSpec) -> Iterator[UUID]:
        """A disk in the pool that may not be mounted."""
        id = uuid4()
        host.create_disk(DiskSpec(id, 1, None, "fast"))
        yield id
        host.undefine(spec.id)
        host.remove_disk(id)

    @pytest.fixture
    def running(self, host: Hypervisor, image: BaseImage, spec: DomainSpec) -> DomainSpec:
        prepare(host, image, spec)
        host.start(spec.id)
        return spec

    def test_the_host_says_what_it_has(self, host):
        facts = host.facts()
        host.ping()
        assert facts.disk_gib.keys() == {"local", "fast"}
        assert min(facts.cpus, facts.memory_mib, *facts.disk_gib.values()) > 0
        assert all((facts.name, facts.cpu_model, facts.accelerator, facts.version))

    def test_an_image_copy_is_found_again_and_goes_away(self, host, image):
        copy_image(host, image)
        assert host.ensure_image_copy(image).fraction == 1.0
        assert image.sha256 in host.image_copies()
        host.remove_image_copy(image.sha256)
        host.remove_image_copy(image.sha256)
        assert image.sha256 not in host.image_copies()

    @pytest.mark.parametrize("pool", ["local", "fast"])
    def test_an_image_copy_stays_while_a_disk_is_based_on_it(self, host, image, spec, pool):
        prepare(host, image, spec, pool=pool)
        with pytest.raises(HypervisorError, match=str(spec.boot_disk)):
            host.remove_image_copy(image.sha256)
        host.undefine(spec.id)
        host.remove_disk(spec.boot_disk)
        host.remove_image_copy(image.sha256)

    @pytest.mark.parametrize("pool", ["local", "fast"])
    def test_a_disk_has_the_size_asked_for_and_is_made_once(self, host, image, spec, pool):
        copy_image(host, image)
        disk = DiskSpec(spec.boot_disk, image.size_gib + 2, image, pool)
        host.create_disk(disk)
        host.create_disk(disk)
        assert host.disks()[disk.id] == image.size_gib + 2
        host.remove_disk(disk.id)
        host.remove_disk(disk.id)
        assert disk.id not in host.disks()

    def test_a_disk_without_its_image_is_refused(self, host, image):
        with pytest.raises(HypervisorError, match="image"):
            host.create_disk(DiskSpec(uuid4(), 10, replace(image, sha256="0" * 64), "local"))

    def test_a_disk_in_a_pool_that_the_host_does_not_have_is_refused(self, host):
        with pytest.raises(HypervisorError, match="no disk pool 'slow'"):
            host.create_disk(DiskSpec(disk_id := uuid4(), 1, None, "slow"))
        assert disk_id not in host.disks()

    def test_a_disk_is_made_in_the_pool_asked_for_and_in_no_other(self, host, empty_disk, unmounted, request):
        with unmounted():
            assert (empty_disk in host.disks()) == ("local" in request.node.callspec.id)

    def test_a_pool_that_is_not_mounted_has_no_room_and_takes_no_disks(self, host, unmounted):
        with unmounted():
            room = host.facts().disk_gib
            assert (room["fast"], room["local"] > 0) == (0, True)
            with pytest.raises(HypervisorError, match="disk pool 'fast': nothing is mounted"):
                host.create_disk(DiskSpec(disk_id := uuid4(), 1, None, "fast"))
        assert host.facts().disk_gib["fast"] > 0
        assert disk_id not in host.disks()

    def test_a_disk_whose_pool_is_not_mounted_is_nowhere_until_it_is_mounted_again(
        self, host, fast_disk, running, unmounted, written, read
    ):
        written(fast_disk, "a")
        with unmounted():
            for verb in (
                lambda: host.resize_disk(fast_disk, 2, vm_id=None),
                lambda: host.take_snapshot(fast_disk, uuid4()),
                lambda: host.define(replace(running, disks=(fast_disk,))),
                lambda: host.plug_disks(running.id, (fast_disk,)),
            ):
                with pytest.raises(HypervisorError, match=str(fast_disk)):
                    verb()
            host.remove_disk(fast_disk)
        assert (read(fast_disk), host.disks()[fast_disk]) == ("a", 1)

    def test_a_machine_starts_once_the_pool_of_its_disk_is_mounted(
        self, host, image, spec, fast_disk, unmounted
    ):
        prepare(host, image, with_disk := replace(spec, disks=(fast_disk,)))
        with unmounted():
            host.define(with_disk)
            with pytest.raises(HypervisorError, match=str(fast_disk)):
                host.start(spec.id)
        host.start(spec.id)

    def test_a_machine_that_runs_keeps_a_disk_whose_pool_is_mounted_no_more(
        self, host, image, spec, fast_disk, unmounted
    ):
        prepare(host, image, with_disk := replace(spec, disks=(fast_disk,)))
        host.start(spec.id)
        with unmounted():
            assert found(host, spec.id).power is Power.RUNNING
            assert host.plug_disks(spec.id, (fast_disk,)) == frozenset()
        with pytest.raises(HypervisorError, match=str(fast_disk)):
            host.remove_disk(fast_disk)
        host.undefine(with_disk.id)

    def test_an_image_copy_stays_while_a_disk_that_is_not_seen_may_be_based_on_it(
        self, host, image, spec, unmounted
    ):
        prepare(host, image, spec, pool="fast")
        with unmounted(), pytest.raises(HypervisorError, match="disk pool 'fast'"):
            host.remove_image_copy(image.sha256)
        host.start(spec.id)

    def test_a_disk_without_an_image_is_empty_and_grows_but_never_shrinks(self, host, empty_disk):
        assert host.disks()[empty_disk] == 1
        for size, then in ((3, 3), (3, 3), (2, 3)):
            host.resize_disk(empty_disk, size, vm_id=None)
            assert host.disks()[empty_disk] == then

    def test_a_disk_that_is_not_there_cannot_grow(self, host):
        with pytest.raises(HypervisorError, match=str(nobody := uuid4())):
            host.resize_disk(nobody, 3, vm_id=None)

    def test_a_disk_of_a_machine_is_not_removed(self, host, image, spec, empty_disk):
        prepare(host, image, with_disk := replace(spec, disks=(empty_disk,)))
        for disk_id in (spec.boot_disk, empty_disk):
            with pytest.raises(HypervisorError, match=str(disk_id)):
                host.remove_disk(disk_id)
        host.start(with_disk.id)
        with pytest.raises(HypervisorError, match=str(empty_disk)):
            host.remove_disk(empty_disk)
        host.undefine(with_disk.id)
        host.remove_disk(empty_disk)
        assert empty_disk not in host.disks()

    def test_a_snapshot_is_taken_once_and_brings_back_content_and_size(self, host, empty_disk, written, read):
        written(empty_disk, "a")
        host.take_snapshot(empty_disk, first := uuid4())
        written(empty_disk, "b")
        host.resize_disk(empty_disk, 2, vm_id=None)
        host.take_snapshot(empty_disk, first)
        host.take_snapshot(empty_disk, second := uuid4())
        assert host.snapshots(empty_disk) == {first, second}
        host.revert_disk(empty_disk, first)
        host.revert_disk(empty_disk, first)
        assert (read(empty_disk), host.disks()[empty_disk]) == ("a", 1)
        host.revert_disk(empty_disk, second)
        assert (read(empty_disk), host.disks()[empty_disk]) == ("b", 2)

    @pytest.mark.parametrize("pool", ["local", "fast"])
    def test_an_image_of_a_disk_that_no_machine_runs_with_holds_what_the_disk_holds(
        self, host, image, spec, tmp_path, written, read, pool
    ):
        prepare(host, image, spec, pool=pool)
        written(spec.boot_disk, "a")
        order = an_order(spec, tmp_path)
        taking = taken(host, order)
        written(spec.boot_disk, "b")
        assert taking.taken_from is TakenFrom.STOPPED
        assert hashlib.sha256(order.target.read_bytes()).hexdigest() == taking.sha256
        assert host.ensure_image_taken(order) == taking
        base = BaseImage(taking.sha256, "qcow2", order.target, image.size_gib + 1)
        copy_image(host, base)
        host.create_disk(DiskSpec(made := uuid4(), image.size_gib + 1, base, "local"))
        assert read(made) == "a"
        with pytest.raises(HypervisorError):
            host.remove_image_copy(taking.sha256)
        host.remove_disk(made)
        host.remove_image_copy(taking.sha256)

    def test_a_taking_that_is_forgotten_leaves_the_image(self, host, image, spec, tmp_path):
        prepare(host, image, spec)
        order = an_order(spec, tmp_path)
        taken(host, order)
        assert order.image_id in host.takings()
        for _ in range(2):
            assert host.forget_taking(order.image_id)
        assert order.image_id not in host.takings()
        assert order.target.exists()

    def test_a_taking_that_is_given_up_is_gone(self, host, image, spec, tmp_path):
        prepare(host, image, spec)
        order = an_order(spec, tmp_path)
        host.ensure_image_taken(order)
        eventually(lambda: host.forget_taking(order.image_id))
        assert order.image_id not in host.takings()
        host.start(spec.id)

    def test_an_image_of_a_machine_that_runs_is_taken_under_it(self, host, image, spec, tmp_path):
        prepare(host, image, spec)
        host.start(spec.id)
        started = found(host, spec.id).started
        order = an_order(spec, tmp_path)
        assert taken(host, order).taken_from is not TakenFrom.STOPPED
        assert found(host, spec.id).started == started
        base = BaseImage(taken(host, order).sha256, "qcow2", order.target, image.size_gib + 1)
        copy_image(host, base)
        host.create_disk(DiskSpec(made := uuid4(), image.size_gib + 1, base, "local"))
        assert made in host.disks()
        host.remove_disk(made)
        host.remove_image_copy(base.sha256)

    @pytest.mark.parametrize("runs", [False, True], ids=["off", "running"])
    def test_an_image_of_a_disk_with_snapshots_holds_what_the_disk_holds_now_and_leaves_them(
        self, host, image, spec, tmp_path, written, read, runs
    ):
        prepare(host, image, spec)
        written(spec.boot_disk, "a")
        host.take_snapshot(spec.boot_disk, snapshot := uuid4())
        written(spec.boot_disk, "b")
        if runs:
            host.start(spec.id)
        base = BaseImage(
            taken(host, order := an_order(spec, tmp_path)).sha256, "qcow2", order.target, image.size_gib + 1
        )
        copy_image(host, base)
        host.create_disk(DiskSpec(made := uuid4(), image.size_gib + 1, base, "local"))
        assert read(made) == "b"
        assert host.snapshots(spec.boot_disk) == {snapshot}
        host.pull_plug(spec.id)
        host.revert_disk(spec.boot_disk, snapshot)
        assert read(spec.boot_disk) == "a"
        host.remove_disk(made)
        host.remove_image_copy(base.sha256)

    def test_an_image_of_a_disk_that_is_not_there_cannot_be_taken(self, host, image, spec, tmp_path):
        prepare(host, image, spec)
        order = replace(an_order(spec, tmp_path), disk_id=uuid4())
        with suppress(HypervisorError):
            eventually(lambda: host.ensure_image_taken(order).error)
        assert not order.target.exists()

    def test_a_removed_snapshot_leaves_the_disk_as_it_is(self, host, empty_disk, written, read):
        written(empty_disk, "a")
        host.take_snapshot(empty_disk, snapshot := uuid4())
        written(empty_disk, "b")
        host.remove_snapshot(empty_disk, snapshot)
        host.remove_snapshot(empty_disk, snapshot)
        assert host.snapshots(empty_disk) == frozenset()
        assert read(empty_disk) == "b"
        with pytest.raises(HypervisorError):
            host.revert_disk(empty_disk, snapshot)

    def test_a_disk_that_grew_after_its_snapshot_grows_again_after_going_back(self, host, empty_disk):
        host.take_snapshot(empty_disk, snapshot := uuid4())
        host.resize_disk(empty_disk, 3, vm_id=None)
        host.revert_disk(empty_disk, snapshot)
        host.resize_disk(empty_disk, 3, vm_id=None)
        assert host.disks()[empty_disk] == 3

    def test_snapshots_are_refused_while_a_machine_runs_with_the_disk(self, host, image, spec, empty_disk):
        host.take_snapshot(empty_disk, snapshot := uuid4())
        prepare(host, image, with_disk := replace(spec, disks=(empty_disk,)))
        host.start(with_disk.id)
        for verb in (host.take_snapshot, host.revert_disk, host.remove_snapshot):
            with pytest.raises(HypervisorError):
                verb(empty_disk, uuid4() if verb == host.take_snapshot else snapshot)
        assert host.snapshots(empty_disk) == {snapshot}
        host.undefine(with_disk.id)
        host.remove_snapshot(empty_disk, snapshot)

    def test_a_running_machine_takes_a_disk_and_keeps_it(self, host, running, empty_disk):
        for _ in range(2):
            assert host.plug_disks(running.id, (empty_disk,)) == frozenset()
        with pytest.raises(HypervisorError, match=str(empty_disk)):
            host.remove_disk(empty_disk)
        host.resize_disk(empty_disk, 2, vm_id=running.id)
        assert host.disks()[empty_disk] == 2
        host.undefine(running.id)

    def test_a_machine_has_room_for_as_many_disks_as_is_promised(self, host, running):
        disks = tuple(uuid4() for _ in range(MOST_STORAGE_DISKS))
        for disk_id in disks:
            host.create_disk(DiskSpec(disk_id, 1, None, "local"))
        assert host.plug_disks(running.id, disks) == frozenset()
        host.undefine(running.id)
        for disk_id in disks:
            host.remove_disk(disk_id)

    def test_nothing_is_plugged_into_a_machine_that_is_off(self, host, image, spec, empty_disk):
        prepare(host, image, spec)
        assert host.plug_disks(spec.id, (empty_disk,)) == frozenset()
        host.remove_disk(empty_disk)

    def test_a_disk_that_is_not_there_cannot_be_plugged(self, host, running):
        with pytest.raises(HypervisorError, match=str(nobody := uuid4())):
            host.plug_disks(running.id, (nobody,))

    def test_a_machine_without_one_of_its_storage_disks_is_not_defined(self, host, image, spec):
        prepare(host, image, spec)
        with pytest.raises(HypervisorError, match=str(nobody := uuid4())):
            host.define(replace(spec, disks=(nobody,)))
        assert found(host, spec.id).spec_digest == spec_digest(spec)

    def test_a_seed_is_listed_until_it_is_removed(self, host, spec):
        host.write_seed(a_seed(spec.id))
        host.write_seed(a_seed(spec.id))
        assert spec.id in host.seeds()
        host.remove_seed(spec.id)
        host.remove_seed(spec.id)
        assert spec.id not in host.seeds()

    def test_a_defined_machine_is_off(self, host, image, spec):
        assert host.domain(spec.id) is None
        prepare(host, image, spec)
        host.define(spec)
        domain = found(host, spec.id)
        assert domain == Domain(spec.id, Power.OFF, OffReason.NONE, 0, spec_digest(spec))
        assert host.domains()[spec.id] == domain

    def test_a_started_machine_runs_and_starts_only_once(self, host, running):
        domain = found(host, running.id)
        assert (domain.power, domain.off_reason) == (Power.RUNNING, OffReason.NONE)
        assert domain.started != 0
        host.start(running.id)
        assert found(host, running.id) == domain

    def test_a_machine_that_runs_or_is_off_has_nothing_to_go_on_with(self, host, running):
        domain = found(host, running.id)
        host.resume(running.id)
        assert found(host, running.id) == domain
        host.pull_plug(running.id)
        host.resume(running.id)
        assert found(host, running.id).power is Power.OFF

    def test_each_start_can_be_told_from_the_one_before(self, host, running):
        first = found(host, running.id).started
        host.pull_plug(running.id)
        assert found(host, running.id).started == 0
        host.start(running.id)
        assert found(host, running.id).started not in {0, first}

    def test_a_pulled_plug_ends_the_machine(self, host, running):
        host.pull_plug(running.id)
        host.pull_plug(running.id)
        domain = found(host, running.id)
        assert (domain.power, domain.off_reason) == (Power.OFF, OffReason.DESTROYED)

    def test_a_machine_that_crashed_is_told_from_one_that_was_stopped(self, host, running, kill):
        with changes_of(host, running.id) as changed:
            kill(running.id)
            assert changed.wait(30)
        domain = eventually(lambda: (found := host.domain(running.id)).power is Power.OFF and found)
        assert domain.off_reason is OffReason.CRASHED
        host.start(running.id)
        assert found(host, running.id).power is Power.RUNNING

    def test_a_running_machine_can_be_redefined(self, host, running):
        larger = replace(running, memory_mib=512)
        host.define(larger)
        domain = found(host, running.id)
        assert (domain.power, domain.spec_digest) == (Power.RUNNING, spec_digest(larger))

    def test_a_machine_is_forgotten_even_while_it_runs(self, host, running):
        host.undefine(running.id)
        host.undefine(running.id)
        assert host.domain(running.id) is None
        assert running.id not in host.domains()

    def test_a_machine_without_its_boot_disk_is_not_defined(self, host, spec):
        with pytest.raises(HypervisorError, match=str(spec.boot_disk)):
            host.define(spec)
        assert host.domain(spec.id) is None

    def test_a_machine_without_its_seed_does_not_start(self, host, image, spec):
        prepare(host, image, spec)
        host.remove_seed(spec.id)
        with pytest.raises(HypervisorError, match="seed"):
            host.start(spec.id)

    def test_a_machine_that_is_not_there_cannot_be_worked(self, host):
        nobody = uuid4()
        verbs = (
            host.start,
            host.resume,
            host.press_power_button,
            host.pull_plug,
            lambda one: host.plug_disks(one, ()),
        )
        for verb in verbs:
            with pytest.raises(HypervisorError, match=str(nobody)):
                verb(nobody)
        with pytest.raises(HypervisorError, match=str(nobody)):
            host.set_password(nobody, HASH)
        assert host.ping_guest(nobody) is None

    def test_a_machine_that_is_off_takes_a_press_of_its_power_button(self, host, image, spec):
        prepare(host, image, spec)
        host.press_power_button(spec.id)
        assert found(host, spec.id).power is Power.OFF

    def test_a_guest_that_is_off_says_nothing(self, host, image, spec):
        assert host.guest(spec.id) == NO_GUEST
        prepare(host, image, spec)
        assert host.guest(spec.id) == NO_GUEST

    def test_what_a_running_machine_has_used_only_grows(self, host, running):
        first = eventually(lambda: host.stats().get(running.id))
        assert first.memory_bytes > 0
        second = eventually(
            lambda: (seen := host.stats().get(running.id)) and seen.cpu_seconds > first.cpu_seconds and seen
        )
        for name in ("read_bytes", "read_requests", "written_bytes", "write_requests"):
            assert getattr(second, name) >= getattr(first, name) >= 0
        assert min(second.received_bytes, second.sent_bytes) >= 0

    def test_a_machine_that_is_off_is_not_measured(self, host, image, spec):
        prepare(host, image, spec)
        assert spec.id not in host.stats()

    def test_a_guest_that_is_silent_can_be_told_nothing(self, host, running):
        assert host.ping_guest(running.id) is None
        with pytest.raises(GuestSilent):
            host.set_password(running.id, HASH)
        with pytest.raises(GuestSilent):
            host.replace_keys(running.id, ["a key"], instead_of=[])

    def test_machines_are_worked_by_several_threads_at_once(self, host, image):
        copy_image(host, image)
        specs = [a_spec(image) for _ in range(4)]
        threads = [threading.Thread(target=prepare, args=(host, image, spec)) for spec in specs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {spec.id for spec in specs} <= host.domains().keys()
        for spec in specs:
            host.undefine(spec.id)
            host.remove_seed(spec.id)
            host.remove_disk(spec.boot_disk)

    def test_a_screen_greets_and_answers(self, host, running):
        with host.open_screen(running.id) as line:
            assert heard(line, 12) == b"RFB 003.008\n"
            line.sendall(b"RFB 003.008\n")
            assert heard(line, 1)

    def test_a_screen_has_several_viewers(self, host, running):
        with host.open_screen(running.id) as first, host.open_screen(running.id) as second:
            assert heard(first, 12) == heard(second, 12)

    @pytest.mark.parametrize("line_of", ["open_screen", "open_serial"])
    @pytest.mark.parametrize("end_of", ["pull_plug", "undefine", "kill"])
    def test_a_console_ends_with_its_machine(self, host, running, kill, line_of, end_of):
        with getattr(host, line_of)(running.id) as line:
            line.settimeout(30)
            {"kill": kill}.get(end_of, getattr(host, end_of, None))(running.id)
            with suppress(ConnectionError):
                while line.recv(4096):
                    pass

    def test_who_opens_the_serial_console_takes_it_over(self, host, running):
        with host.open_serial(running.id) as first, host.open_serial(running.id) as second:
            first.settimeout(30)
            while first.recv(4096):
                pass
            second.settimeout(0.2)
            with pytest.raises(TimeoutError):
                while second.recv(4096):
                    pass

    def test_consoles_that_are_closed_leave_nothing_open(self, host, running):
        host.open_serial(running.id).close()
        host.open_screen(running.id).close()
        before = open_sockets()
        for _ in range(20):
            host.open_screen(running.id).close()
            host.open_serial(running.id).close()
        eventually(lambda: open_sockets() <= before)

    def test_a_screenshot_is_a_picture(self, host, running):
        assert host.screenshot(running.id).startswith(b"\x89PNG\r\n")

    def test_a_machine_that_is_off_has_no_consoles(self, host, image, spec):
        prepare(host, image, spec)
        for verb in (host.open_screen, host.open_serial, host.screenshot):
            with pytest.raises(MachineOff, match=str(spec.id)):
                verb(spec.id)


class GuestContract:
    """Machines whose guests boot; their `image` has an agent and obeys the seed and the power button."""

    @pytest.fixture
    def booted(self, host: Hypervisor, image: BaseImage, nics: tuple[NicSpec, ...]) -> Iterator[DomainSpec]:
        spec = replace(a_spec(image), nics=nics)
        prepare(host, image, spec, start_script="echo hello from the script\nexit 3")
        host.start(spec.id)
        yield spec
        host.undefine(spec.id)
        host.remove_disk(spec.boot_disk)
        host.remove_seed(spec.id)
        host.remove_console_log(spec.id)

    def test_a_guest_tells_of_its_first_boot_and_obeys_its_power_button(self, host, booted):
        guest = eventually(lambda: (seen := host.guest(booted.id)).first_boot_done and seen)
        assert guest.agent
        assert guest.start_script_status == 3
        assert guest.stage == ""
        assert eventually(lambda: host.ping_guest(booted.id)) > 0
        for _ in range(2):
            host.set_password(booted.id, HASH)
            host.replace_keys(booted.id, ["ssh-ed25519 AAAAone one"], instead_of=[])
        host.replace_keys(booted.id, ["ssh-ed25519 AAAAtwo two"], instead_of=["ssh-ed25519 AAAAone one"])
        host.press_power_button(booted.id)
        domain = eventually(lambda: (seen := found(host, booted.id)).power is Power.OFF and seen)
        assert domain.off_reason is OffReason.GUEST_SHUTDOWN

    def test_a_guest_that_starts_again_knows_itself_by_a_seed_without_secrets(self, host, booted):
        eventually(lambda: host.guest(booted.id).first_boot_done)
        host.write_seed(a_seed(booted.id, "exit 4").without_secrets())
        host.press_power_button(booted.id)
        eventually(lambda: found(host, booted.id).power is Power.OFF)
        host.start(booted.id)
        guest = eventually(lambda: (seen := host.guest(booted.id)).agent and seen)
        assert (guest.first_boot_done, guest.start_script_status) == (True, 3)

    def test_a_guest_lets_go_of_a_disk_that_is_unplugged(self, host, booted):
        host.create_disk(DiskSpec(disk_id := uuid4(), 1, None, "fast"))
        eventually(lambda: host.guest(booted.id).first_boot_done)
        host.plug_disks(booted.id, (disk_id,))
        eventually(lambda: not host.plug_disks(booted.id, ()))
        host.remove_disk(disk_id)
        assert host.disks().keys() == {booted.boot_disk}

    def test_the_serial_console_answers_who_types(self, host, booted):
        eventually(lambda: host.guest(booted.id).first_boot_done)
        with host.open_serial(booted.id) as line:
            line.sendall(b"a word\r")
            line.settimeout(30)
            seen = b""
            while b"a word" not in seen:
                seen += line.recv(4096)

    def test_the_console_outlives_the_machine_until_it_is_removed(self, host, booted):
        log = eventually(lambda: host.console_log(booted.id, max_bytes=100))
        host.undefine(booted.id)
        assert log in host.console_log(booted.id, max_bytes=1 << 20)
        assert len(host.console_log(booted.id, max_bytes=7)) == 7
        host.remove_console_log(booted.id)
        host.remove_console_log(booted.id)
        assert host.console_log(booted.id, max_bytes=100) == b""
