"""What every Hypervisor must do: subclassed for each of them, with the fixtures named below.

`host` has the disk pools `local` and `fast`, `image` is one for its disks, `kill` ends a machine's process, `written` and
`read` are what a guest does to a disk, and `unmounted` has the file system of `fast` not mounted for a while.
"""

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.waiting import PATIENCE_S, eventually

from cumulet.hypervisor import (
    MOST_STORAGE_DISKS,
    NO_GUEST,
    BaseImage,
    DiskSpec,
    Domain,
    DomainSpec,
    GpuInUse,
    GpuMissing,
    GpuSpec,
    GpuUnclean,
    GuestSilent,
    Hypervisor,
    HypervisorError,
    ImageCapture,
    ImageName,
    ImageOrder,
    MachineOff,
    NicSpec,
    OffReason,
    OlderTerm,
    Power,
    Seed,
    TakenFrom,
    spec_digest,
)
from cumulet.hypervisor.content import KEPT, announce, read_exactly, read_length

HASH = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"


def a_seed(vm_id: UUID, start_script: str = "") -> Seed:
    return Seed(
        vm_id=vm_id,
        instance_id=str(vm_id),
        hostname="hello",
        ssh_keys=(),
        password_hash="",
        start_script=start_script,
    )


def copy_image(host: Hypervisor, image: BaseImage, pool: str = "") -> None:
    eventually(lambda: host.images.copy(image, pool).ready)


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


def taken(host: Hypervisor, order: ImageOrder) -> ImageCapture:
    """An image once it is whole; what goes wrong is told."""

    def look() -> ImageCapture | None:
        capture = host.images.capture(order)
        assert not capture.error
        return capture if capture.taken_from else None

    return eventually(look)


def prepare(
    host: Hypervisor, image: BaseImage, spec: DomainSpec, *, pool: str = "local", start_script: str = ""
) -> None:
    """All that a machine needs before its start."""
    copy_image(host, image, pool)
    host.disks.create(DiskSpec(spec.boot_disk, image.size_gib + 1, image, pool))
    host.seeds.write(a_seed(spec.id, start_script))
    host.machines.define(spec)


def found(host: Hypervisor, vm_id: UUID) -> Domain:
    domain = host.machines.get(vm_id)
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


class GpuContract:
    """GPUs: the host that `gpus` belongs to has one; `used` has a machine run with it."""

    def test_a_gpu_is_cleaned_as_often_as_one_likes(self, gpus):
        (gpu,) = gpus.read().gpus
        gpus.clean(gpu.address)
        gpus.clean(gpu.address)
        assert gpus.read().gpus == (gpu,)

    def test_a_gpu_that_a_machine_runs_with_is_not_cleaned(self, gpus, used):
        (gpu,) = gpus.read().gpus
        used(gpu)
        with pytest.raises(GpuInUse, match=gpu.address):
            gpus.clean(gpu.address)

    def test_a_gpu_that_is_not_there_is_neither_clean_nor_proven(self, gpus):
        for verb in (gpus.clean, gpus.prove):
            with pytest.raises(GpuUnclean, match=r"GPU 0000:7f:00\.0 is not on the bus"):
                verb("0000:7f:00.0")

    def test_a_gpu_is_proven_by_a_guest_that_finds_all_its_functions(self, gpus):
        (gpu,) = gpus.read().gpus
        proof = gpus.prove(gpu.address)
        assert [one.pci_id for one in proof.functions] == [one.pci_id for one in gpu.functions]
        assert all(one.masters_bus and any(one.bars) for one in proof.functions)

    def test_a_gpu_that_a_machine_runs_with_is_given_to_no_other_guest(self, gpus, used):
        (gpu,) = gpus.read().gpus
        used(gpu)
        with pytest.raises(GpuInUse, match=gpu.address):
            gpus.prove(gpu.address)


class DiskContract:
    """Disks, and machines that have them, whose guests need not boot."""

    home = "local"
    """The pool in which boot disks lie."""

    def prepare(self, host: Hypervisor, image: BaseImage, spec: DomainSpec) -> None:
        """All that a machine needs before its start."""
        prepare(host, image, spec, pool=self.home)

    @pytest.fixture
    def spec(self, image: BaseImage, host: Hypervisor) -> Iterator[DomainSpec]:
        spec = a_spec(image)
        yield spec
        host.machines.undefine(spec.id)
        host.disks.remove(spec.boot_disk)
        host.seeds.remove(spec.id)
        host.consoles.remove_log(spec.id)

    @pytest.fixture(params=["local", "fast"])
    def empty_disk(
        self, host: Hypervisor, spec: DomainSpec, request: pytest.FixtureRequest
    ) -> Iterator[UUID]:
        """A disk of 1 GiB with nothing on it, in either pool; goes when the machine has gone."""
        id = uuid4()
        host.disks.create(DiskSpec(id, 1, None, request.param))
        yield id
        host.machines.undefine(spec.id)
        host.disks.remove(id)

    @pytest.fixture
    def fast_disk(self, host: Hypervisor, spec: DomainSpec) -> Iterator[UUID]:
        """A disk in the pool that may not be mounted."""
        id = uuid4()
        host.disks.create(DiskSpec(id, 1, None, "fast"))
        yield id
        host.machines.undefine(spec.id)
        host.disks.remove(id)

    @pytest.fixture
    def running(self, host: Hypervisor, image: BaseImage, spec: DomainSpec) -> DomainSpec:
        self.prepare(host, image, spec)
        host.machines.start(spec.id)
        return spec

    def test_the_host_says_what_it_has(self, host):
        facts = host.facts()
        host.ping()
        assert facts.disk_gib.keys() == {"local", "fast"}
        assert min(facts.cpus, facts.memory_mib, *facts.disk_gib.values()) > 0
        assert all(
            (facts.name, facts.cpu_model, facts.accelerator, facts.version, facts.boot_id, facts.cpu_group)
        )

    def test_an_image_copy_is_found_again_and_goes_away(self, host, image):
        copy_image(host, image, self.home)
        assert host.images.copy(image, self.home).fraction == 1.0
        assert host.images.copies()[image.sha256] > 0
        host.images.remove_copy(image.sha256)
        host.images.remove_copy(image.sha256)
        assert image.sha256 not in host.images.copies()

    def test_an_image_copy_goes_to_another_host_and_is_one_there_once_it_is_found_to_be_that_image(
        self, host, image, spec
    ):
        copy_image(host, image)
        with host.images.send_copy(image.sha256) as line:
            content = b"".join(read_exactly(line, length := read_length(line)))
        host.images.remove_copy(image.sha256)
        with pytest.raises(HypervisorError, match=image.sha256[:12]):
            host.images.send_copy(image.sha256)
        elsewhere = replace(image, path=Path("/nowhere"))
        with host.images.receive_copy(elsewhere) as arrival:
            announce(arrival, length)
            arrival.sendall(content[:-1] + bytes([content[-1] ^ 1]))
            assert b"is not image" in arrival.recv(1000)
        assert image.sha256 not in host.images.copies()
        with host.images.receive_copy(elsewhere) as arrival:
            announce(arrival, length)
            arrival.sendall(content)
            assert heard(arrival, 1) == KEPT
        assert host.images.copies()[image.sha256] > 0
        copy_image(host, elsewhere)
        host.disks.create(DiskSpec(spec.boot_disk, image.size_gib, elsewhere, "local"))
        host.disks.remove(spec.boot_disk)

    @pytest.mark.parametrize("pool", ["local", "fast"])
    def test_an_image_copy_stays_while_a_disk_is_based_on_it(self, host, image, spec, pool):
        prepare(host, image, spec, pool=pool)
        with pytest.raises(HypervisorError, match=str(spec.boot_disk)):
            host.images.remove_copy(image.sha256)
        host.machines.undefine(spec.id)
        host.disks.remove(spec.boot_disk)
        host.images.remove_copy(image.sha256)

    @pytest.mark.parametrize("pool", ["local", "fast"])
    def test_a_disk_has_the_size_asked_for_and_is_made_once(self, host, image, spec, pool):
        copy_image(host, image, pool)
        disk = DiskSpec(spec.boot_disk, image.size_gib + 2, image, pool)
        host.disks.create(disk)
        host.disks.create(disk)
        assert host.disks.list()[disk.id] == image.size_gib + 2
        host.disks.remove(disk.id)
        host.disks.remove(disk.id)
        assert disk.id not in host.disks.list()

    def test_a_disk_without_its_image_is_refused(self, host, image):
        with pytest.raises(HypervisorError, match="image"):
            host.disks.create(DiskSpec(uuid4(), 10, replace(image, sha256="0" * 64), self.home))

    def test_a_disk_in_a_pool_that_the_host_does_not_have_is_refused(self, host):
        with pytest.raises(HypervisorError, match="no disk pool 'slow'"):
            host.disks.create(DiskSpec(disk_id := uuid4(), 1, None, "slow"))
        assert disk_id not in host.disks.list()

    def test_a_disk_is_made_in_the_pool_asked_for_and_in_no_other(self, host, empty_disk, unmounted, request):
        with unmounted():
            assert (empty_disk in host.disks.list()) == ("local" in request.node.callspec.id)

    def test_a_pool_that_is_not_mounted_has_no_room_and_takes_no_disks(self, host, unmounted):
        with unmounted():
            room = host.facts().disk_gib
            assert (room["fast"], room["local"] > 0) == (0, True)
            with pytest.raises(HypervisorError, match="disk pool 'fast': "):
                host.disks.create(DiskSpec(disk_id := uuid4(), 1, None, "fast"))
        assert host.facts().disk_gib["fast"] > 0
        assert disk_id not in host.disks.list()

    def test_a_disk_whose_pool_is_not_mounted_is_nowhere_until_it_is_mounted_again(
        self, host, image, spec, fast_disk, unmounted, written, read
    ):
        prepare(host, image, spec)
        host.machines.start(spec.id)
        written(fast_disk, "a")
        with unmounted():
            for verb in (
                lambda: host.disks.resize(fast_disk, 2, vm_id=None),
                lambda: host.disks.take_snapshot(fast_disk, uuid4()),
                lambda: host.machines.define(replace(spec, disks=(fast_disk,))),
                lambda: host.machines.hotplug(spec.id, (fast_disk,)),
            ):
                with pytest.raises(HypervisorError, match=str(fast_disk)):
                    verb()
            host.disks.remove(fast_disk)
        assert (read(fast_disk), host.disks.list()[fast_disk]) == ("a", 1)

    def test_a_machine_starts_once_the_pool_of_its_disk_is_mounted(
        self, host, image, spec, fast_disk, unmounted
    ):
        prepare(host, image, with_disk := replace(spec, disks=(fast_disk,)))
        with unmounted():
            host.machines.define(with_disk)
            with pytest.raises(HypervisorError, match=str(fast_disk)):
                host.machines.start(spec.id)
        host.machines.start(spec.id)

    def test_a_machine_that_runs_keeps_a_disk_whose_pool_is_mounted_no_more(
        self, host, image, spec, fast_disk, unmounted
    ):
        prepare(host, image, with_disk := replace(spec, disks=(fast_disk,)))
        host.machines.start(spec.id)
        with unmounted():
            assert found(host, spec.id).power is Power.RUNNING
            assert host.machines.hotplug(spec.id, (fast_disk,)) == frozenset()
        with pytest.raises(HypervisorError, match=str(fast_disk)):
            host.disks.remove(fast_disk)
        host.machines.undefine(with_disk.id)

    def test_an_image_copy_stays_while_a_disk_that_is_not_seen_may_be_based_on_it(
        self, host, image, spec, unmounted
    ):
        prepare(host, image, spec, pool="fast")
        with unmounted(), pytest.raises(HypervisorError, match="disk pool 'fast'"):
            host.images.remove_copy(image.sha256)
        host.machines.start(spec.id)

    def test_a_disk_without_an_image_is_empty_and_grows_but_never_shrinks(self, host, empty_disk):
        assert host.disks.list()[empty_disk] == 1
        for size, then in ((3, 3), (3, 3), (2, 3)):
            host.disks.resize(empty_disk, size, vm_id=None)
            assert host.disks.list()[empty_disk] == then

    def test_nobody_is_kept_from_writing_to_a_disk_of_the_hosts_own(self, host):
        host.disks.create(DiskSpec(id := uuid4(), 1, None, "local"))
        with pytest.raises(HypervisorError, match=str(id)):
            host.disks.cut_off(id)
        host.disks.remove(id)

    def test_a_disk_that_is_not_there_cannot_grow(self, host):
        with pytest.raises(HypervisorError, match=str(nobody := uuid4())):
            host.disks.resize(nobody, 3, vm_id=None)

    def test_a_disk_of_a_machine_is_not_removed(self, host, image, spec, empty_disk):
        self.prepare(host, image, with_disk := replace(spec, disks=(empty_disk,)))
        for disk_id in (spec.boot_disk, empty_disk):
            with pytest.raises(HypervisorError, match=str(disk_id)):
                host.disks.remove(disk_id)
        host.machines.start(with_disk.id)
        with pytest.raises(HypervisorError, match=str(empty_disk)):
            host.disks.remove(empty_disk)
        host.machines.undefine(with_disk.id)
        host.disks.remove(empty_disk)
        assert empty_disk not in host.disks.list()

    def test_a_snapshot_is_taken_once_and_brings_back_content_and_size(self, host, empty_disk, written, read):
        written(empty_disk, "a")
        host.disks.take_snapshot(empty_disk, first := uuid4())
        written(empty_disk, "b")
        host.disks.resize(empty_disk, 2, vm_id=None)
        host.disks.take_snapshot(empty_disk, first)
        host.disks.take_snapshot(empty_disk, second := uuid4())
        assert host.disks.snapshots(empty_disk) == {first, second}
        host.disks.revert(empty_disk, first)
        host.disks.revert(empty_disk, first)
        assert (read(empty_disk), host.disks.list()[empty_disk]) == ("a", 1)
        host.disks.revert(empty_disk, second)
        assert (read(empty_disk), host.disks.list()[empty_disk]) == ("b", 2)

    @pytest.mark.parametrize("pool", ["local", "fast"])
    def test_an_image_of_a_disk_that_no_machine_runs_with_holds_what_the_disk_holds(
        self, host, image, spec, tmp_path, written, read, pool
    ):
        prepare(host, image, spec, pool=pool)
        written(spec.boot_disk, "a")
        order = an_order(spec, tmp_path)
        capture = taken(host, order)
        written(spec.boot_disk, "b")
        assert capture.taken_from is TakenFrom.STOPPED
        assert hashlib.sha256(order.target.read_bytes()).hexdigest() == capture.sha256
        assert host.images.capture(order) == capture
        base = BaseImage(capture.sha256, "qcow2", order.target, image.size_gib + 1)
        copy_image(host, base, self.home)
        host.disks.create(DiskSpec(made := uuid4(), image.size_gib + 1, base, self.home))
        assert read(made) == "a"
        with pytest.raises(HypervisorError):
            host.images.remove_copy(capture.sha256)
        host.disks.remove(made)
        host.images.remove_copy(capture.sha256)

    def test_a_capture_that_is_forgotten_leaves_the_image(self, host, image, spec, tmp_path):
        self.prepare(host, image, spec)
        order = an_order(spec, tmp_path)
        taken(host, order)
        assert order.image_id in host.images.captures()
        for _ in range(2):
            assert host.images.forget_capture(order.image_id)
        assert order.image_id not in host.images.captures()
        assert order.target.exists()

    def test_a_capture_that_is_given_up_is_gone(self, host, image, spec, tmp_path):
        self.prepare(host, image, spec)
        order = an_order(spec, tmp_path)
        host.images.capture(order)
        eventually(lambda: host.images.forget_capture(order.image_id))
        assert order.image_id not in host.images.captures()
        host.machines.start(spec.id)

    def test_an_image_of_a_machine_that_runs_is_taken_under_it(self, host, image, spec, tmp_path):
        self.prepare(host, image, spec)
        host.machines.start(spec.id)
        started = found(host, spec.id).started
        order = an_order(spec, tmp_path)
        assert taken(host, order).taken_from is not TakenFrom.STOPPED
        assert found(host, spec.id).started == started
        base = BaseImage(taken(host, order).sha256, "qcow2", order.target, image.size_gib + 1)
        copy_image(host, base, self.home)
        host.disks.create(DiskSpec(made := uuid4(), image.size_gib + 1, base, self.home))
        assert made in host.disks.list()
        host.disks.remove(made)
        host.images.remove_copy(base.sha256)

    @pytest.mark.parametrize("runs", [False, True], ids=["off", "running"])
    def test_an_image_of_a_disk_with_snapshots_holds_what_the_disk_holds_now_and_leaves_them(
        self, host, image, spec, tmp_path, written, read, runs
    ):
        self.prepare(host, image, spec)
        written(spec.boot_disk, "a")
        host.disks.take_snapshot(spec.boot_disk, snapshot := uuid4())
        written(spec.boot_disk, "b")
        if runs:
            host.machines.start(spec.id)
        base = BaseImage(
            taken(host, order := an_order(spec, tmp_path)).sha256, "qcow2", order.target, image.size_gib + 1
        )
        copy_image(host, base, self.home)
        host.disks.create(DiskSpec(made := uuid4(), image.size_gib + 1, base, self.home))
        assert read(made) == "b"
        assert host.disks.snapshots(spec.boot_disk) == {snapshot}
        host.machines.force_off(spec.id)
        host.disks.revert(spec.boot_disk, snapshot)
        assert read(spec.boot_disk) == "a"
        host.disks.remove(made)
        host.images.remove_copy(base.sha256)

    def test_an_image_of_a_disk_that_is_not_there_cannot_be_taken(self, host, image, spec, tmp_path):
        self.prepare(host, image, spec)
        order = replace(an_order(spec, tmp_path), disk_id=uuid4())
        with suppress(HypervisorError):
            eventually(lambda: host.images.capture(order).error)
        assert not order.target.exists()

    def test_a_removed_snapshot_leaves_the_disk_as_it_is(self, host, empty_disk, written, read):
        written(empty_disk, "a")
        host.disks.take_snapshot(empty_disk, snapshot := uuid4())
        written(empty_disk, "b")
        host.disks.remove_snapshot(empty_disk, snapshot)
        host.disks.remove_snapshot(empty_disk, snapshot)
        assert host.disks.snapshots(empty_disk) == frozenset()
        assert read(empty_disk) == "b"
        with pytest.raises(HypervisorError):
            host.disks.revert(empty_disk, snapshot)

    def test_a_disk_that_grew_after_its_snapshot_grows_again_after_going_back(self, host, empty_disk):
        host.disks.take_snapshot(empty_disk, snapshot := uuid4())
        host.disks.resize(empty_disk, 3, vm_id=None)
        host.disks.revert(empty_disk, snapshot)
        host.disks.resize(empty_disk, 3, vm_id=None)
        assert host.disks.list()[empty_disk] == 3

    def test_snapshots_are_refused_while_a_machine_runs_with_the_disk(self, host, image, spec, empty_disk):
        host.disks.take_snapshot(empty_disk, snapshot := uuid4())
        self.prepare(host, image, with_disk := replace(spec, disks=(empty_disk,)))
        host.machines.start(with_disk.id)
        for verb in (host.disks.take_snapshot, host.disks.revert, host.disks.remove_snapshot):
            with pytest.raises(HypervisorError):
                verb(empty_disk, uuid4() if verb == host.disks.take_snapshot else snapshot)
        assert host.disks.snapshots(empty_disk) == {snapshot}
        host.machines.undefine(with_disk.id)
        host.disks.remove_snapshot(empty_disk, snapshot)

    def test_a_running_machine_takes_a_disk_and_keeps_it(self, host, running, empty_disk):
        for _ in range(2):
            assert host.machines.hotplug(running.id, (empty_disk,)) == frozenset()
        with pytest.raises(HypervisorError, match=str(empty_disk)):
            host.disks.remove(empty_disk)
        host.disks.resize(empty_disk, 2, vm_id=running.id)
        assert host.disks.list()[empty_disk] == 2
        host.machines.undefine(running.id)

    def test_a_machine_has_room_for_as_many_disks_as_is_promised(self, host, running):
        disks = tuple(uuid4() for _ in range(MOST_STORAGE_DISKS))
        for disk_id in disks:
            host.disks.create(DiskSpec(disk_id, 1, None, self.home))
        assert host.machines.hotplug(running.id, disks) == frozenset()
        host.machines.undefine(running.id)
        for disk_id in disks:
            host.disks.remove(disk_id)

    def test_nothing_is_plugged_into_a_machine_that_is_off(self, host, image, spec, empty_disk):
        self.prepare(host, image, spec)
        assert host.machines.hotplug(spec.id, (empty_disk,)) == frozenset()
        host.disks.remove(empty_disk)

    def test_a_disk_that_is_not_there_cannot_be_plugged(self, host, running):
        with pytest.raises(HypervisorError, match=str(nobody := uuid4())):
            host.machines.hotplug(running.id, (nobody,))

    def test_a_machine_without_one_of_its_storage_disks_is_not_defined(self, host, image, spec):
        self.prepare(host, image, spec)
        with pytest.raises(HypervisorError, match=str(nobody := uuid4())):
            host.machines.define(replace(spec, disks=(nobody,)))
        assert found(host, spec.id).spec_digest == spec_digest(spec)


class HypervisorContract(DiskContract):
    """All that a host does whose guests need not boot."""

    def test_gpus_are_told_each_once_in_the_order_of_their_addresses(self, host: Hypervisor) -> None:
        addresses = [gpu.address for gpu in host.gpus.read().gpus]
        assert addresses == sorted(set(addresses))

    def test_a_disk_goes_to_another_host_with_what_it_holds_and_its_snapshots(
        self, host, image, spec, written, read
    ):
        prepare(host, image, spec)
        written(spec.boot_disk, "a")
        host.disks.take_snapshot(spec.boot_disk, kept := uuid4())
        written(spec.boot_disk, "b")
        with host.disks.send(spec.boot_disk) as line:
            content = b"".join(read_exactly(line, length := read_length(line)))
        host.machines.undefine(spec.id)
        host.disks.remove(spec.boot_disk)
        with host.disks.receive(DiskSpec(spec.boot_disk, image.size_gib + 1, image, "local")) as arrival:
            announce(arrival, length)
            arrival.sendall(content)
            assert heard(arrival, 1) == KEPT
        assert host.disks.list()[spec.boot_disk] == image.size_gib + 1
        assert host.disks.snapshots(spec.boot_disk) == {kept}
        host.machines.define(spec)
        assert read(spec.boot_disk) == "b"
        host.disks.revert(spec.boot_disk, kept)
        assert read(spec.boot_disk) == "a"
        host.machines.start(spec.id)

    def test_of_a_disk_that_did_not_arrive_whole_nothing_is_there(self, host, empty_disk):
        with host.disks.receive(DiskSpec(coming := uuid4(), 1, None, "local")) as arrival:
            announce(arrival, 1000)
            arrival.sendall(b"half")
        eventually(lambda: coming not in host.disks.list())
        with pytest.raises(HypervisorError, match=str(empty_disk)):
            host.disks.receive(DiskSpec(empty_disk, 1, None, "local"))

    def test_a_disk_that_a_running_machine_has_is_not_sent(self, host, running):
        with pytest.raises(HypervisorError, match=str(running.boot_disk)):
            host.disks.send(running.boot_disk)

    def test_the_log_of_a_console_goes_on_from_what_was_brought(self, host):
        host.consoles.bring_log(other := uuid4(), b"from elsewhere")
        assert host.consoles.log(other, max_bytes=1000) == b"from elsewhere"
        host.consoles.bring_log(other, b"from elsewhere again")
        assert host.consoles.log(other, max_bytes=1000) == b"from elsewhere"
        host.consoles.remove_log(other)

    def test_a_seed_is_listed_until_it_is_removed(self, host, spec):
        host.seeds.write(a_seed(spec.id))
        host.seeds.write(a_seed(spec.id))
        assert spec.id in host.seeds.list()
        host.seeds.remove(spec.id)
        host.seeds.remove(spec.id)
        assert spec.id not in host.seeds.list()

    def test_a_defined_machine_is_off(self, host, image, spec):
        assert host.machines.get(spec.id) is None
        prepare(host, image, spec)
        host.machines.define(spec)
        domain = found(host, spec.id)
        assert domain == Domain(spec.id, Power.OFF, OffReason.NONE, 0, spec_digest(spec))
        assert host.machines.list()[spec.id] == domain

    def test_a_started_machine_runs_and_starts_only_once(self, host, running):
        domain = found(host, running.id)
        assert (domain.power, domain.off_reason) == (Power.RUNNING, OffReason.NONE)
        assert domain.started != 0
        host.machines.start(running.id)
        assert found(host, running.id) == domain

    def test_a_machine_that_runs_or_is_off_has_nothing_to_go_on_with(self, host, running):
        domain = found(host, running.id)
        host.machines.resume(running.id)
        assert found(host, running.id) == domain
        host.machines.force_off(running.id)
        host.machines.resume(running.id)
        assert found(host, running.id).power is Power.OFF

    def test_each_start_can_be_told_from_the_one_before(self, host, running):
        first = found(host, running.id).started
        host.machines.force_off(running.id)
        assert found(host, running.id).started == 0
        host.machines.start(running.id)
        assert found(host, running.id).started not in {0, first}

    def test_a_pulled_plug_ends_the_machine(self, host, running):
        host.machines.force_off(running.id)
        host.machines.force_off(running.id)
        domain = found(host, running.id)
        assert (domain.power, domain.off_reason) == (Power.OFF, OffReason.DESTROYED)

    def test_a_machine_that_crashed_is_told_from_one_that_was_stopped(self, host, running, kill):
        with changes_of(host, running.id) as changed:
            kill(running.id)
            assert changed.wait(PATIENCE_S)
        domain = eventually(lambda: (found := host.machines.get(running.id)).power is Power.OFF and found)
        assert domain.off_reason is OffReason.CRASHED
        host.machines.start(running.id)
        assert found(host, running.id).power is Power.RUNNING

    def test_a_running_machine_can_be_redefined(self, host, running):
        larger = replace(running, memory_mib=512)
        host.machines.define(larger)
        domain = found(host, running.id)
        assert (domain.power, domain.spec_digest) == (Power.RUNNING, spec_digest(larger))

    def test_a_machine_is_forgotten_even_while_it_runs(self, host, running):
        host.machines.undefine(running.id)
        host.machines.undefine(running.id)
        assert host.machines.get(running.id) is None
        assert running.id not in host.machines.list()

    def test_a_machine_without_its_boot_disk_is_not_defined(self, host, spec):
        with pytest.raises(HypervisorError, match=str(spec.boot_disk)):
            host.machines.define(spec)
        assert host.machines.get(spec.id) is None

    def test_a_machine_with_a_gpu_that_is_not_on_the_host_is_not_defined(self, host, image, spec):
        prepare(host, image, spec)
        gone = replace(spec, gpus=(GpuSpec(("ffff:ff:1f.6", "ffff:ff:1f.7"), None),))
        with pytest.raises(GpuMissing, match=r"ffff:ff:1f\.6") as refusal:
            host.machines.define(gone)
        assert refusal.value.message == "a GPU of it is not on its host any more"
        assert found(host, spec.id).spec_digest == spec_digest(spec)

    def test_a_term_is_kept_beyond_the_machine_and_nobody_with_a_lower_one_works_it(self, host, running):
        assert (found(host, running.id).term, host.machines.terms().get(running.id)) == (0, None)
        host.machines.force_off(running.id)
        host.machines.keep_term(running.id, 2)
        for verb in (
            lambda: host.machines.start(running.id, term=1),
            lambda: host.machines.start(running.id),
            lambda: host.machines.resume(running.id, term=1),
            lambda: host.machines.define(replace(running, term=1)),
            lambda: host.machines.keep_term(running.id, 1),
        ):
            with pytest.raises(OlderTerm, match=f"VM {running.id} is in term 2"):
                verb()
        assert found(host, running.id).power is Power.OFF
        host.machines.undefine(running.id)
        with pytest.raises(OlderTerm):
            host.machines.define(running)
        assert host.machines.terms()[running.id] == 2
        host.machines.define(replace(running, term=3))
        host.machines.start(running.id, term=3)
        assert (found(host, running.id).term, host.machines.terms()[running.id]) == (3, 3)

    def test_a_term_is_forgotten(self, host):
        host.machines.keep_term(gone := uuid4(), 1)
        host.machines.forget_term(gone)
        host.machines.forget_term(gone)
        assert gone not in host.machines.terms()

    def test_a_machine_without_its_seed_does_not_start(self, host, image, spec):
        prepare(host, image, spec)
        host.seeds.remove(spec.id)
        with pytest.raises(HypervisorError, match="seed"):
            host.machines.start(spec.id)

    def test_a_machine_that_is_not_there_cannot_be_worked(self, host):
        nobody = uuid4()
        verbs = (
            host.machines.start,
            host.machines.resume,
            host.machines.request_shutdown,
            host.machines.force_off,
            lambda one: host.machines.hotplug(one, ()),
        )
        for verb in verbs:
            with pytest.raises(HypervisorError, match=str(nobody)):
                verb(nobody)
        with pytest.raises(HypervisorError, match=str(nobody)):
            host.guests.set_password(nobody, HASH)
        assert host.guests.ping(nobody) is None

    def test_a_machine_that_is_off_takes_a_press_of_its_power_button(self, host, image, spec):
        prepare(host, image, spec)
        host.machines.request_shutdown(spec.id)
        assert found(host, spec.id).power is Power.OFF

    def test_a_guest_that_is_off_says_nothing(self, host, image, spec):
        assert host.guests.ask(spec.id) == NO_GUEST
        prepare(host, image, spec)
        assert host.guests.ask(spec.id) == NO_GUEST

    def test_what_a_running_machine_has_used_only_grows(self, host, running):
        first = eventually(lambda: host.machines.stats().get(running.id))
        assert first.memory_bytes > 0
        second = eventually(
            lambda: (
                (seen := host.machines.stats().get(running.id))
                and seen.cpu_seconds > first.cpu_seconds
                and seen
            )
        )
        for name in ("read_bytes", "read_requests", "written_bytes", "write_requests"):
            assert getattr(second, name) >= getattr(first, name) >= 0
        assert min(second.received_bytes, second.sent_bytes) >= 0

    def test_a_machine_that_is_off_is_not_measured(self, host, image, spec):
        prepare(host, image, spec)
        assert spec.id not in host.machines.stats()

    def test_a_guest_that_is_silent_can_be_told_nothing(self, host, running):
        assert host.guests.ping(running.id) is None
        with pytest.raises(GuestSilent):
            host.guests.set_password(running.id, HASH)
        with pytest.raises(GuestSilent):
            host.guests.replace_keys(running.id, ["a key"], instead_of=[])

    def test_machines_are_worked_by_several_threads_at_once(self, host, image):
        copy_image(host, image)
        specs = [a_spec(image) for _ in range(4)]
        threads = [threading.Thread(target=prepare, args=(host, image, spec)) for spec in specs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {spec.id for spec in specs} <= host.machines.list().keys()
        for spec in specs:
            host.machines.undefine(spec.id)
            host.seeds.remove(spec.id)
            host.disks.remove(spec.boot_disk)

    def test_a_screen_greets_and_answers(self, host, running):
        with host.consoles.open_screen(running.id) as line:
            assert heard(line, 12) == b"RFB 003.008\n"
            line.sendall(b"RFB 003.008\n")
            assert heard(line, 1)

    def test_a_screen_has_several_viewers(self, host, running):
        with host.consoles.open_screen(running.id) as first, host.consoles.open_screen(running.id) as second:
            assert heard(first, 12) == heard(second, 12)

    @pytest.mark.parametrize("line_of", ["open_screen", "open_serial"])
    @pytest.mark.parametrize("end_of", ["force_off", "undefine", "kill"])
    def test_a_console_ends_with_its_machine(self, host, running, kill, line_of, end_of):
        with getattr(host.consoles, line_of)(running.id) as line:
            line.settimeout(30)
            {"kill": kill}.get(end_of, getattr(host.machines, end_of, None))(running.id)
            with suppress(ConnectionError):
                while line.recv(4096):
                    pass

    def test_who_opens_the_serial_console_takes_it_over(self, host, running):
        with host.consoles.open_serial(running.id) as first, host.consoles.open_serial(running.id) as second:
            first.settimeout(30)
            while first.recv(4096):
                pass
            second.settimeout(0.2)
            with pytest.raises(TimeoutError):
                while second.recv(4096):
                    pass

    def test_consoles_that_are_closed_leave_nothing_open(self, host, running):
        host.consoles.open_serial(running.id).close()
        host.consoles.open_screen(running.id).close()
        before = open_sockets()
        for _ in range(20):
            host.consoles.open_screen(running.id).close()
            host.consoles.open_serial(running.id).close()
        eventually(lambda: open_sockets() <= before)

    def test_a_screenshot_is_a_picture(self, host, running):
        assert host.consoles.screenshot(running.id).startswith(b"\x89PNG\r\n")

    def test_a_machine_that_is_off_has_no_consoles(self, host, image, spec):
        prepare(host, image, spec)
        for verb in (host.consoles.open_screen, host.consoles.open_serial, host.consoles.screenshot):
            with pytest.raises(MachineOff, match=str(spec.id)):
                verb(spec.id)


class GuestContract:
    """Machines whose guests boot; their `image` has an agent and obeys the seed and the power button."""

    @pytest.fixture
    def booted(self, host: Hypervisor, image: BaseImage, nics: tuple[NicSpec, ...]) -> Iterator[DomainSpec]:
        spec = replace(a_spec(image), nics=nics)
        prepare(host, image, spec, start_script="echo hello from the script\nexit 3")
        host.machines.start(spec.id)
        yield spec
        host.machines.undefine(spec.id)
        host.disks.remove(spec.boot_disk)
        host.seeds.remove(spec.id)
        host.consoles.remove_log(spec.id)

    def test_a_guest_tells_of_its_first_boot_and_obeys_its_power_button(self, host, booted):
        guest = eventually(lambda: (seen := host.guests.ask(booted.id)).first_boot_done and seen)
        assert guest.agent
        assert guest.start_script_status == 3
        assert guest.stage == ""
        assert eventually(lambda: host.guests.ping(booted.id)) > 0
        for _ in range(2):
            host.guests.set_password(booted.id, HASH)
            host.guests.replace_keys(booted.id, ["ssh-ed25519 AAAAone one"], instead_of=[])
        host.guests.replace_keys(
            booted.id, ["ssh-ed25519 AAAAtwo two"], instead_of=["ssh-ed25519 AAAAone one"]
        )
        host.machines.request_shutdown(booted.id)
        domain = eventually(lambda: (seen := found(host, booted.id)).power is Power.OFF and seen)
        assert domain.off_reason is OffReason.GUEST_SHUTDOWN

    def test_a_guest_that_starts_again_knows_itself_by_a_seed_without_secrets(self, host, booted):
        eventually(lambda: host.guests.ask(booted.id).first_boot_done)
        host.seeds.write(a_seed(booted.id, "exit 4").without_secrets())
        host.machines.request_shutdown(booted.id)
        eventually(lambda: found(host, booted.id).power is Power.OFF)
        host.machines.start(booted.id)
        guest = eventually(lambda: (seen := host.guests.ask(booted.id)).agent and seen)
        assert (guest.first_boot_done, guest.start_script_status) == (True, 3)

    def test_a_guest_lets_go_of_a_disk_that_is_unplugged(self, host, booted):
        host.disks.create(DiskSpec(disk_id := uuid4(), 1, None, "fast"))
        eventually(lambda: host.guests.ask(booted.id).first_boot_done)
        host.machines.hotplug(booted.id, (disk_id,))
        eventually(lambda: not host.machines.hotplug(booted.id, ()))
        host.disks.remove(disk_id)
        assert host.disks.list().keys() == {booted.boot_disk}

    def test_the_serial_console_answers_who_types(self, host, booted):
        eventually(lambda: host.guests.ask(booted.id).first_boot_done)
        with host.consoles.open_serial(booted.id) as line:
            line.sendall(b"a word\r")
            line.settimeout(30)
            seen = b""
            while b"a word" not in seen:
                seen += line.recv(4096)

    def test_the_console_outlives_the_machine_until_it_is_removed(self, host, booted):
        log = eventually(lambda: host.consoles.log(booted.id, max_bytes=100))
        host.consoles.bring_log(booted.id, b"from elsewhere")
        assert b"from elsewhere" not in host.consoles.log(booted.id, max_bytes=1 << 20)
        host.machines.undefine(booted.id)
        assert log in host.consoles.log(booted.id, max_bytes=1 << 20)
        assert len(host.consoles.log(booted.id, max_bytes=7)) == 7
        host.consoles.remove_log(booted.id)
        host.consoles.remove_log(booted.id)
        assert host.consoles.log(booted.id, max_bytes=100) == b""
