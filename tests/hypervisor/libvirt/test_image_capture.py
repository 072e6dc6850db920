"""What happens to a real host while an image is taken: its machine ends, its libvirtd dies, its disk is full."""

from dataclasses import dataclass
from uuid import uuid4

import libvirt
import msgspec
import pytest
from tests.hypervisor.contract import a_seed, a_spec, an_order, copy_image, found, prepare, taken
from tests.hypervisor.libvirt.conftest import qemu_io
from tests.lab.small_disk import small
from tests.waiting import eventually
from tests.words import LOST_CALL

from cumulet.hypervisor import DiskSpec, HostLost, HypervisorError, ImageOrder, TakenFrom
from cumulet.hypervisor.libvirt import fsfreeze, image_capture
from cumulet.hypervisor.libvirt.domains import find_domain
from cumulet.hypervisor.libvirt.image_capture import MOST_LOSSES, THAW_TRIES, CaptureRecord, ImageCaptures
from cumulet.hypervisor.libvirt.image_copies import copy_whole
from cumulet.hypervisor.libvirt.jobs import is_named, try_lock
from cumulet.hypervisor.libvirt.places import FilePlace

lab = pytest.mark.lab
HUGE_GIB = 16 * 1024
"""So large that QEMU copies for minutes, though there is nothing on it; qemu-img sees that and is done at once."""


def remove(host, spec):
    host.machines.undefine(spec.id)
    host.disks.remove(spec.boot_disk)
    host.seeds.remove(spec.id)
    host.consoles.remove_log(spec.id)


@pytest.fixture
def spec(host, image):
    spec = a_spec(image)
    yield spec
    remove(host, spec)


@pytest.fixture
def half_taken(host, image, spec, tmp_path):
    """An image of a machine that runs, in the midst of QEMU's copy."""
    copy_image(host, image)
    host.disks.create(DiskSpec(spec.boot_disk, HUGE_GIB, image, "local"))
    host.seeds.write(a_seed(spec.id))
    host.machines.define(spec)
    host.machines.start(spec.id)
    order = an_order(spec, tmp_path)
    wait_for_the_middle(host, order)
    yield order
    eventually(lambda: host.images.forget_capture(order.image_id))


def wait_for_the_middle(host, order):
    def look():
        capture = host.images.capture(order)
        assert not capture.error
        return 0 < capture.fraction < 1

    eventually(look)


def left_of(host, order):
    """What lies about of an image's capture."""
    return [path.name for path in host._paths.captures.glob(f"{order.image_id}*")]


def has_a_job(host, vm_id):
    return host._works.call(lambda link: find_domain(link, vm_id).jobInfo()[0]) != libvirt.VIR_DOMAIN_JOB_NONE


@lab
@pytest.mark.parametrize("end_of", ["kill", "force_off"])
def test_a_machine_that_ends_in_the_midst_of_its_image_has_it_taken_of_what_it_left(
    host, half_taken, kill, end_of
):
    (kill if end_of == "kill" else host.machines.force_off)(half_taken.vm_id)
    assert taken(host, half_taken).taken_from is TakenFrom.STOPPED
    host.machines.start(half_taken.vm_id)
    assert host.images.forget_capture(half_taken.image_id)
    assert left_of(host, half_taken) == []


@lab
def test_a_libvirtd_that_dies_in_the_midst_of_an_image_has_it_begun_anew(host, half_taken, kill_libvirtd):
    started = found(host, half_taken.vm_id).started
    with (host._paths.captures / f"{half_taken.image_id}.qcow2").open("rb") as first:
        kill_libvirtd()
        eventually(lambda: is_begun_anew(host, half_taken, first))
    eventually(lambda: is_known_to_run(host, half_taken, started))
    host.machines.force_off(half_taken.vm_id)
    assert taken(host, half_taken).taken_from is TakenFrom.STOPPED


def is_begun_anew(host, order, first):
    assert not host.images.capture(order).error
    part = host._paths.captures / f"{order.image_id}.qcow2"
    return part.exists() and not is_named(first, part)


def is_known_to_run(host, order, started):
    try:
        host.consoles.screenshot(order.vm_id)
        return found(host, order.vm_id).started == started
    except HypervisorError:
        return False


@lab
def test_an_image_that_is_given_up_in_the_midst_leaves_nothing(host, half_taken):
    started = found(host, half_taken.vm_id).started
    eventually(lambda: host.images.forget_capture(half_taken.image_id))
    assert not has_a_job(host, half_taken.vm_id)
    assert left_of(host, half_taken) == []
    assert not half_taken.target.exists()
    assert found(host, half_taken.vm_id).started == started


@lab
@pytest.mark.parametrize("runs", [False, True], ids=["off", "running"])
@pytest.mark.parametrize("full", ["captures", "store"])
def test_a_disk_that_is_full_ends_an_image_with_that_reason_and_stays_as_it_was(
    host, image, spec, place_of, tmp_path, runs, full
):
    prepare(host, image, spec)
    qemu_io("write -P 97 0 8M", place_of(spec.boot_disk))
    if runs:
        host.machines.start(spec.id)
    order = an_order(spec, tmp_path)
    with small(host._paths.captures if full == "captures" else tmp_path):
        told = eventually(lambda: host.images.capture(order).error)
        assert "No space left" in told
        assert list(tmp_path.iterdir()) == []
        assert host.images.forget_capture(order.image_id)
        assert left_of(host, order) == []
    assert not (runs and has_a_job(host, spec.id))
    assert taken(host, order).taken_from is (TakenFrom.RUNNING if runs else TakenFrom.STOPPED)
    host.images.forget_capture(order.image_id)


@lab
@pytest.mark.parametrize("runs", [False, True], ids=["off", "running"])
def test_snapshots_of_a_disk_do_not_get_into_its_image(host, image, spec, tmp_path, written, runs):
    prepare(host, image, spec)
    written(spec.boot_disk, "a")
    host.disks.take_snapshot(spec.boot_disk, uuid4())
    if runs:
        host.machines.start(spec.id)
    order = an_order(spec, tmp_path)
    taken(host, order)
    assert FilePlace(order.target).snapshots() == frozenset()
    host.images.forget_capture(order.image_id)


@dataclass(frozen=True)
class Lines:
    """Connections to a libvirt that is not there."""

    def call(self, work):
        return work(None)


@pytest.fixture
def left_frozen(paths):
    """An image whose capture died while its guest held still."""
    image_id = uuid4()
    (paths.captures / f"{image_id}.lock").touch()
    left = CaptureRecord(source=str(uuid4()), part=str(paths.captures / "part"), vm_id=uuid4(), freezing=True)
    (paths.captures / f"{image_id}.json").write_bytes(msgspec.json.encode(left))
    return image_id


def test_who_gives_an_image_up_does_not_wait_for_who_is_at_it(paths):
    captures, image_id = ImageCaptures(paths, Lines(), Lines()), uuid4()
    with try_lock(paths.captures / f"{image_id}.lock"):
        assert not captures.forget(image_id)
        assert captures.known() == {image_id}
    assert captures.forget(image_id)
    assert list(paths.captures.iterdir()) == []


def test_who_gives_an_image_up_does_not_wait_for_a_guest_that_holds_still(paths, left_frozen, monkeypatch):
    captures, answers = ImageCaptures(paths, Lines(), Lines()), [False, False, True]
    monkeypatch.setattr(fsfreeze, "thaw", lambda _link, _vm_id: answers.pop(0))
    assert [captures.forget(left_frozen) for _ in range(3)] == [False, False, True]
    assert list(paths.captures.iterdir()) == []


def test_a_guest_that_never_goes_on_does_not_keep_its_image(paths, left_frozen, monkeypatch):
    captures = ImageCaptures(paths, Lines(), Lines())
    monkeypatch.setattr(fsfreeze, "thaw", lambda _link, _vm_id: False)
    answers = [captures.forget(left_frozen) for _ in range(THAW_TRIES)]
    assert answers == [False] * (THAW_TRIES - 1) + [True]
    assert list(paths.captures.iterdir()) == []


@pytest.fixture
def failing(paths, monkeypatch):
    """Captures of machines whose backups fail, and whose disks are copied well once they are off."""

    def back_up(_self, _capture):
        raise HypervisorError("End of file from qemu monitor")

    def convert(_self, capture):
        capture.job.part.write_bytes(b"a disk")
        return TakenFrom.STOPPED

    monkeypatch.setattr(ImageCaptures, "_back_up", back_up)
    monkeypatch.setattr(ImageCaptures, "_convert", convert)
    monkeypatch.setattr(image_capture, "NOTICE_SECONDS", 0)
    return ImageCaptures(paths, Lines(), Lines())


def test_a_backup_that_fails_because_its_machine_ended_is_no_failure(failing, tmp_path, monkeypatch):
    runs = [True]
    monkeypatch.setattr(image_capture, "find_running", lambda _link, _vm_id: runs.pop() if runs else None)
    order = ImageOrder(uuid4(), uuid4(), uuid4(), tmp_path / "image.qcow2")

    def look():
        capture = failing.ensure(order)
        assert not capture.error
        return capture.taken_from

    assert eventually(look) is TakenFrom.STOPPED


def test_a_backup_that_fails_under_its_machine_says_why(failing, paths, tmp_path, monkeypatch):
    monkeypatch.setattr(image_capture, "find_running", lambda _link, _vm_id: True)
    order = ImageOrder(uuid4(), uuid4(), uuid4(), tmp_path / "image.qcow2")
    told = eventually(lambda: failing.ensure(order).error)
    assert told == "cannot copy the disk: End of file from qemu monitor"
    assert failing.forget(order.image_id)
    assert list(paths.captures.iterdir()) == []


def test_an_image_under_which_libvirt_is_lost_again_and_again_is_given_up(failing, tmp_path, monkeypatch):
    def lose(_link, _vm_id):
        begun.append(1)
        raise HostLost(LOST_CALL)

    begun = []
    monkeypatch.setattr(image_capture, "find_running", lose)
    order = ImageOrder(uuid4(), uuid4(), uuid4(), tmp_path / "image.qcow2")
    assert LOST_CALL in eventually(lambda: failing.ensure(order).error)
    assert len(begun) == MOST_LOSSES


def test_a_copy_into_a_full_store_leaves_nothing_there(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    (source := tmp_path / "a").write_bytes(b"content")
    monkeypatch.setattr("os.copy_file_range", refuse)
    monkeypatch.setattr("os.sendfile", refuse)
    with pytest.raises(OSError, match="No space"):
        copy_whole(source, tmp_path / "b")
    assert list(tmp_path.iterdir()) == [source]
