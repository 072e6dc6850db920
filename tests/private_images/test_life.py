"""Images that a project takes of its VMs, from the request to their end, on made-up hosts."""

from uuid import uuid4

import pytest
from sqlalchemy import select
from tests.made_up import PROJECT, make_cloud, two_pools
from tests.projects.people import add_user
from tests.words import COPY_FAILED

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.disks import DiskState
from cumulet.disks import operations as disk_operations
from cumulet.disks import vm_operations as disk_verbs
from cumulet.disks.wire import Disk
from cumulet.errors import AlreadyExists, Forbidden, Invalid, NotFound, Refused
from cumulet.hosts import Reservation
from cumulet.hosts.orphans import GRACE
from cumulet.hypervisor import ImageCapture, Power, TakenFrom
from cumulet.private_images import ImageState, PrivateImage
from cumulet.private_images import create as image_operations
from cumulet.private_images import operations as verbs
from cumulet.projects import Role
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as vm_verbs

AFTER_GRACE = GRACE.total_seconds() + 1


def take(cloud, id="golden", vm_id="hello", caller=None, **query):
    return cloud.call(
        image_operations.create_private_vm_image, caller, project_id=PROJECT, vm_id=vm_id, id=id, **query
    ).image


def shown(cloud, id="golden"):
    return cloud.ask(verbs.get_private_vm_image, id).image


def stopped(cloud, **fields):
    cloud.running(**fields)
    cloud.ask(vm_verbs.stop_vm)
    cloud.settle()


def taken(cloud, id="golden", **query):
    take(cloud, id, **query)
    cloud.settle()
    return shown(cloud, id)


def row(cloud, id="golden"):
    with cloud.database.reading() as db:
        return db.scalars(select(PrivateImage).where(PrivateImage.name == id)).one()


def reserved(cloud):
    with cloud.database.reading() as db:
        return sum(db.scalars(select(Reservation.disk_gib)))


def test_an_image_of_a_running_vm_is_ready_when_it_is_copied(cloud):
    cloud.running(boot_disk_size_gib=3)
    image = take(cloud, description="with all tools")
    assert (image.state, image.size_gib, image.data_center_id) == (ImageState.CREATING, 3, "local")
    assert (image.description, image.platform, image.project_id) == ("with all tools", "linux", PROJECT)
    cloud.settle()
    image = shown(cloud)
    assert (image.state, image.taken_from) == (ImageState.READY, "FROZEN")
    assert (image.waiting_for, image.problem) == ("", "")
    assert cloud.vm().state is VmState.ACTIVE
    assert cloud.disk("hello-boot").disk_state is DiskState.USED
    assert [event for event in cloud.events() if "image" in event] == ["vm.image_requested", "vm.image_ready"]
    assert cloud.host.images.captures() == frozenset()
    assert cloud.due("private_image", row(cloud).id) is None


def test_an_image_says_in_which_state_the_disk_was(cloud):
    cloud.running()
    cloud.host.deaf = True
    assert taken(cloud, id="running").state is ImageState.READY
    assert shown(cloud, "running").taken_from == "RUNNING"
    cloud.host.deaf = False
    cloud.ask(vm_verbs.stop_vm)
    cloud.settle()
    taken(cloud, id="stopped")
    assert shown(cloud, "stopped").taken_from == TakenFrom.STOPPED.value


def test_progress_is_shown(cloud):
    cloud.running()
    cloud.host.copy_step = 0.25
    take(cloud)
    cloud.run()
    assert shown(cloud).waiting_for == "copying image, 25%"
    assert cloud.disk("hello-boot").disk_state is DiskState.CLONE
    cloud.settle()
    assert shown(cloud).state is ImageState.READY


def test_a_vm_made_of_it_has_what_was_on_the_disk_and_says_where_that_came_from(cloud):
    cloud.running()
    cloud.host.write_disk(cloud.row().boot_disk_id, "hard work")
    taken(cloud)
    cloud.host.write_disk(cloud.row().boot_disk_id, "later work")
    vm = cloud.running(vm_id="second", boot_disk_image_id="golden")
    assert cloud.host.read_disk(cloud.row("second").boot_disk_id) == "hard work"
    assert (vm.image_id, vm.image_name, vm.private_image_id) == ("golden", "golden", "golden")
    assert (vm.public_image_id, vm.public_image_name) == ("", "")
    assert (vm.boot_disk.private_image_id, vm.boot_disk.public_image_id) == ("golden", "")
    first = cloud.vm()
    assert (first.private_image_id, first.public_image_id) == ("", "micro")


def test_a_vm_made_of_it_may_land_on_any_host(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=2&memory_gib=9")
    cloud.running(memory_gib=4)
    host = cloud.hosts[cloud.row().host_id]
    host.write_disk(cloud.row().boot_disk_id, "hard work")
    taken(cloud)
    cloud.running(vm_id="second", boot_disk_image_id="golden")
    second = cloud.row("second")
    assert second.host_id != cloud.row().host_id
    assert cloud.hosts[second.host_id].read_disk(second.boot_disk_id) == "hard work"


def test_a_boot_disk_is_at_least_as_large_as_its_image(cloud):
    cloud.running(boot_disk_size_gib=5)
    taken(cloud)
    with pytest.raises(Invalid, match="bootDiskSizeGib: 4"):
        cloud.create(vm_id="small", boot_disk_image_id="golden", boot_disk_size_gib=4)
    assert cloud.create(vm_id="same", boot_disk_image_id="golden").boot_disk_size_gib == 5


def test_an_image_that_is_not_ready_makes_no_vm(cloud):
    cloud.running()
    take(cloud)
    with pytest.raises(Refused, match="CREATING") as refused:
        cloud.create(vm_id="second", boot_disk_image_id="golden")
    assert refused.value.reason == "IMAGE_NOT_READY"
    assert cloud.count(Vm) == 1


def test_an_image_in_use_is_not_deleted(cloud):
    cloud.running()
    taken(cloud)
    cloud.running(vm_id="second", boot_disk_image_id="golden")
    with pytest.raises(Refused, match="second-boot") as refused:
        cloud.ask(verbs.delete_private_vm_image, "golden")
    assert refused.value.reason == "IMAGE_IN_USE"
    assert shown(cloud).state is ImageState.READY
    cloud.ask(vm_verbs.terminate_vm, "second")
    cloud.settle()
    cloud.ask(verbs.delete_private_vm_image, "golden")
    cloud.settle()
    assert cloud.count(PrivateImage) == 0


def test_an_image_outlives_its_vm_and_the_sweep_leaves_it(cloud):
    cloud.running()
    taken(cloud)
    cloud.ask(vm_verbs.terminate_vm)
    cloud.settle()
    cloud.sweep()
    cloud.pass_time(AFTER_GRACE)
    cloud.sweep()
    cloud.running(vm_id="second", boot_disk_image_id="golden")
    sha256 = row(cloud).sha256
    cloud.sweep()
    assert sha256 in cloud.host.images.copies()


def test_deleting_removes_file_copies_row_and_room(cloud):
    cloud.running()
    before = reserved(cloud)
    taken(cloud)
    assert reserved(cloud) == before + 1
    cloud.running(vm_id="second", boot_disk_image_id="golden")
    cloud.ask(vm_verbs.terminate_vm, "second")
    cloud.settle()
    image = row(cloud)
    cloud.ask(verbs.delete_private_vm_image, "golden")
    assert shown(cloud).state is ImageState.DELETING
    cloud.settle()
    assert reserved(cloud) == before
    assert not cloud.images.private(image.id).exists()
    assert image.sha256 not in cloud.host.images.copies()
    with pytest.raises(NotFound, match="'golden'"):
        shown(cloud)


def test_an_image_that_is_given_up_lets_its_vm_go(cloud):
    cloud.running()
    cloud.host.copy_step = 0.1
    take(cloud)
    cloud.run()
    cloud.ask(verbs.delete_private_vm_image, "golden")
    cloud.settle()
    assert cloud.count(PrivateImage) == 0
    assert cloud.host.images.captures() == frozenset()
    assert cloud.disk("hello-boot").disk_state is DiskState.USED


def test_an_image_waits_for_its_host_to_end_the_copy_before_it_goes(cloud, monkeypatch):
    cloud.running()
    taken(cloud)
    answers, forget = [False, False], cloud.host.images.forget_capture
    monkeypatch.setattr(
        cloud.host.images, "forget_capture", lambda one: answers.pop() if answers else forget(one)
    )
    cloud.ask(verbs.delete_private_vm_image, "golden")
    cloud.run()
    assert (shown(cloud).state, shown(cloud).waiting_for) == (
        ImageState.DELETING,
        "cancelling the copy of the disk",
    )
    assert cloud.images.private(row(cloud).id).exists()
    cloud.settle()
    assert cloud.count(PrivateImage) == 0
    assert cloud.images.private_ids() == frozenset()


def test_a_machine_that_dies_under_its_image_starts_again_when_that_is_taken(cloud):
    cloud.running()
    cloud.host.copy_step = 0.1
    take(cloud)
    cloud.run()
    cloud.host.kill(cloud.row().id)
    cloud.run()
    assert cloud.host.machines.get(cloud.row().id).power is Power.OFF
    cloud.settle()
    assert (shown(cloud).state, shown(cloud).taken_from) == (ImageState.READY, "STOPPED")
    assert cloud.vm().state is VmState.ACTIVE


def test_deleting_one_of_two_equal_images_leaves_the_copy(cloud):
    stopped(cloud)
    taken(cloud)
    take(cloud, id="twin")
    cloud.settle()
    cloud.running(vm_id="second", boot_disk_image_id="twin")
    cloud.ask(verbs.delete_private_vm_image, "golden")
    cloud.settle()
    assert row(cloud, "twin").sha256 in cloud.host.images.copies()


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        (vm_verbs.stop_vm, VmState.STOPPED),
        (vm_verbs.reboot_vm, VmState.ACTIVE),
        (vm_verbs.terminate_vm, None),
    ],
)
def test_the_power_of_a_running_vm_waits_for_its_image(cloud, verb, state):
    cloud.running()
    cloud.host.copy_step = 0.1
    take(cloud)
    cloud.run()
    cloud.ask(verb)
    cloud.run()
    assert cloud.vm().waiting_for == "an image of it is being captured"
    assert cloud.host.machines.get(cloud.row().id).power is Power.RUNNING
    cloud.settle()
    assert (shown(cloud).state, shown(cloud).taken_from) == (ImageState.READY, "FROZEN")
    if state is None:
        assert cloud.count(Vm) == 0
    else:
        assert cloud.vm().state is state


def test_a_start_waits_for_the_image(cloud):
    stopped(cloud)
    cloud.host.copy_step = 0.1
    take(cloud)
    cloud.run()
    cloud.ask(vm_verbs.start_vm)
    cloud.run()
    assert cloud.host.machines.get(cloud.row().id).power is Power.OFF
    cloud.settle()
    assert shown(cloud).taken_from == "STOPPED"
    assert cloud.vm().state is VmState.ACTIVE


def test_a_vm_that_is_not_at_rest_gives_no_image(cloud):
    cloud.create()
    with pytest.raises(Refused, match="PENDING") as refused:
        take(cloud)
    assert refused.value.reason == "VM_NOT_ACTIVE_OR_STOPPED"
    cloud.settle()
    cloud.ask(vm_verbs.reboot_vm)
    with pytest.raises(Refused) as refused:
        take(cloud)
    assert refused.value.reason == "VM_NOT_READY"
    assert cloud.count(PrivateImage) == 0


def test_one_image_at_a_time_is_taken_of_a_vm(cloud):
    cloud.running()
    cloud.host.copy_step = 0.25
    take(cloud)
    cloud.run()
    with pytest.raises(Refused, match=r"'golden' \(copying image, 25%\) is being taken of it") as refused:
        take(cloud, id="second")
    assert refused.value.reason == "VM_NOT_READY"


def test_the_boot_disk_is_left_alone_meanwhile(cloud):
    stopped(cloud)
    take(cloud)
    with pytest.raises(Refused) as refused:
        cloud.call(
            disk_verbs.resize_vm_disk, project_id=PROJECT, id="hello", disk_id="hello-boot", size_gib=9
        )
    assert refused.value.reason == "DISK_NOT_READY"


def test_what_a_request_lacks_is_named(cloud):
    cloud.running()
    taken(cloud)
    with pytest.raises(AlreadyExists, match="'golden'"):
        take(cloud)
    with pytest.raises(NotFound, match="VM 'nobody'"):
        take(cloud, id="other", vm_id="nobody")
    with pytest.raises(Invalid, match=r"^id: 'No!'"):
        take(cloud, id="No!")
    with pytest.raises(Invalid, match="description"):
        take(cloud, id="other", description="x" * 1001)
    for verb in (verbs.get_private_vm_image, verbs.delete_private_vm_image, verbs.update_private_vm_image):
        with pytest.raises(NotFound, match="private image 'nothing'"):
            cloud.ask(verb, "nothing")
    assert cloud.count(PrivateImage) == 1


def test_there_must_be_room_for_an_image(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?disk_gib=100")
    cloud.running(boot_disk_size_gib=60)
    with pytest.raises(Invalid, match="36 GiB disk free, 60 requested"):
        take(cloud)
    assert cloud.disk("hello-boot").disk_state is DiskState.USED


def test_an_image_takes_room_in_the_own_pool_wherever_its_disk_lies(database, tmp_path):
    catalogue = two_pools(read_catalogue(None))
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?disk_gib=100", catalogue=catalogue)
    cloud.running(boot_disk=Disk(size_gib=30, storage_class=StorageClass.LOCAL))
    cloud.create_disk("most", 70, storage_class=StorageClass.NETWORK)
    with pytest.raises(Invalid, match="26 GiB disk free in pool 'local', 30 requested"):
        take(cloud)
    cloud.ask(disk_operations.delete_storage_disk, "most")
    cloud.settle()
    assert taken(cloud).state is ImageState.READY
    with cloud.database.reading() as db:
        rows = db.scalars(select(Reservation)).all()
    assert sorted((row.pool, row.disk_gib) for row in rows) == [("", 0), ("fast", 30), ("local", 30)]
    second = cloud.running(vm_id="second", boot_disk_image_id="golden", boot_disk=Disk(size_gib=30))
    assert second.boot_disk.private_image_id == "golden"


def test_images_are_listed_by_page(cloud):
    cloud.running()
    for id in ("b", "a", "c"):
        take(cloud, id=id)
        cloud.settle()
    answer = cloud.call(verbs.list_private_vm_images, project_id=PROJECT, page_number=2, page_size=2)
    assert [image.id for image in answer.images] == ["c"]
    assert (answer.total_count, answer.page_number, answer.page_size) == (3, 2, 2)
    everything = cloud.call(verbs.list_private_vm_images, project_id=PROJECT)
    assert [image.id for image in everything.images] == ["a", "b", "c"]


def test_an_image_is_described_anew(cloud):
    cloud.running()
    taken(cloud, description="old")
    cloud.call(verbs.update_private_vm_image, project_id=PROJECT, id="golden", description="new")
    assert shown(cloud).description == "new"


def test_viewers_look_and_change_nothing(cloud):
    cloud.running()
    taken(cloud)
    with cloud.database.writing() as db:
        viewer = add_user(db, "viewer", default=Role.VIEWER)
    assert cloud.ask(verbs.get_private_vm_image, "golden", viewer).image.id == "golden"
    with pytest.raises(Forbidden):
        take(cloud, id="other", caller=viewer)
    for verb in (verbs.delete_private_vm_image, verbs.update_private_vm_image):
        with pytest.raises(Forbidden):
            cloud.ask(verb, "golden", viewer)


def test_an_image_that_cannot_be_taken_says_so_and_lets_its_vm_and_room_go(cloud, monkeypatch):
    cloud.running()
    before = reserved(cloud)
    monkeypatch.setattr(cloud.host.images, "capture", lambda _: ImageCapture(0.4, error="No space left"))
    assert taken(cloud).state is ImageState.FAILED
    assert COPY_FAILED in shown(cloud).problem
    assert reserved(cloud) == before
    assert cloud.disk("hello-boot").disk_state is DiskState.USED
    assert cloud.events()[-1] == "vm.image_failed"
    cloud.ask(verbs.delete_private_vm_image, "golden")
    cloud.settle()
    assert cloud.count(PrivateImage) == 0


def test_what_has_no_owner_in_the_store_or_on_a_host_is_removed_after_its_grace(cloud):
    whole, half = cloud.images.private(one := uuid4()), cloud.images.private(another := uuid4())
    cloud.remember(one)
    cloud.remember(another)
    strays = (whole, half.with_name(f"{half.name}.part"))
    whole.parent.mkdir(parents=True, exist_ok=True)
    for path in strays:
        path.write_bytes(b"left behind")
    cloud.sweep()
    assert all(path.exists() for path in strays)
    cloud.pass_time(AFTER_GRACE)
    cloud.sweep()
    assert not any(path.exists() for path in strays)
