"""One request right after another: what is right once the first has settled waits for that, and is not refused for good."""

from functools import partial

import pytest
from tests.made_up import PROJECT

from cumulet.disks import operations as disk_verbs
from cumulet.disks import snapshot_operations
from cumulet.disks import vm_operations as disk_operations
from cumulet.disks.wire import CreateDiskSnapshot
from cumulet.errors import CumuletError
from cumulet.private_images import create as image_operations
from cumulet.private_images import operations as image_verbs
from cumulet.vms import change_operations
from cumulet.vms import operations as vm_verbs
from cumulet.vms.wire import UpdateVmExpireTime


def create(cloud, **fields):
    cloud.create(**fields)


def vm_verb(cloud, verb, id="hello"):
    cloud.ask(verb, id)


def attach(cloud, id="data", vm_id="hello"):
    cloud.call(disk_operations.attach_storage_disk, project_id=PROJECT, id=id, vm_id=vm_id)


def detach(cloud):
    cloud.ask(disk_operations.detach_storage_disk, "data")


def delete_disk(cloud):
    cloud.ask(disk_verbs.delete_storage_disk, "data")


def grow(cloud, gib, disk_id="hello-boot"):
    verb = disk_operations.resize_vm_disk
    cloud.call(verb, project_id=PROJECT, id="hello", disk_id=disk_id, size_gib=gib)


def snapshot(cloud, name, disk_id="hello-boot"):
    data = CreateDiskSnapshot(snapshot_id=name)
    verb = snapshot_operations.create_disk_snapshot
    cloud.call(verb, project_id=PROJECT, id=disk_id, data=data)


def of_snapshot(cloud, verb, name):
    cloud.call(verb, project_id=PROJECT, id="hello-boot", snapshot_id=name)


def take_image(cloud, name):
    cloud.call(image_operations.create_private_vm_image, project_id=PROJECT, vm_id="hello", id=name)


def delete_image(cloud, name):
    cloud.ask(image_verbs.delete_private_vm_image, name)


def running(cloud):
    cloud.running()


def with_disk(cloud):
    cloud.running()
    cloud.attached()


def beside_disk(cloud):
    cloud.running()
    cloud.create_disk()


def stopped(cloud):
    cloud.running()
    cloud.ask(vm_verbs.stop_vm)
    cloud.settle()


def with_snapshot(cloud):
    stopped(cloud)
    snapshot(cloud, "one")
    cloud.settle()


def with_image_in_use(cloud):
    cloud.running(vm_id="first")
    verb = image_operations.create_private_vm_image
    cloud.call(verb, project_id=PROJECT, vm_id="first", id="golden")
    cloud.settle()
    cloud.running(boot_disk_image_id="golden")


STOP, REBOOT, TERMINATE = (
    partial(vm_verb, verb=verb) for verb in (vm_verbs.stop_vm, vm_verbs.reboot_vm, vm_verbs.terminate_vm)
)
PAIRS = {
    "create, attach": (lambda cloud: cloud.create_disk(), create, attach),
    "create, resize a disk": (lambda _: None, create, partial(grow, gib=20)),
    "create, image": (lambda _: None, create, partial(take_image, name="golden")),
    "attach, attach": (
        lambda cloud: (beside_disk(cloud), cloud.create_disk("more")),
        attach,
        partial(attach, id="more"),
    ),
    "attach, resize": (beside_disk, attach, partial(grow, gib=20, disk_id="data")),
    "detach, attach": (with_disk, detach, attach),
    "detach, delete": (with_disk, detach, delete_disk),
    "resize, resize": (running, partial(grow, gib=20), partial(grow, gib=30)),
    "resize, image": (running, partial(grow, gib=20), partial(take_image, name="golden")),
    "restart, image": (running, REBOOT, partial(take_image, name="golden")),
    "image, image": (running, partial(take_image, name="one"), partial(take_image, name="two")),
    "image, resize": (running, partial(take_image, name="one"), partial(grow, gib=20)),
    "image, a VM of it": (
        running,
        partial(take_image, name="one"),
        partial(create, vm_id="other", boot_disk_image_id="one"),
    ),
    "image given up, image": (
        lambda cloud: (running(cloud), take_image(cloud, "one")),
        partial(delete_image, name="one"),
        partial(take_image, name="one"),
    ),
    "stop, image": (running, STOP, partial(take_image, name="golden")),
    "stop, snapshot": (running, STOP, partial(snapshot, name="one")),
    "snapshot, snapshot": (stopped, partial(snapshot, name="one"), partial(snapshot, name="two")),
    "snapshot, revert": (
        stopped,
        partial(snapshot, name="one"),
        partial(of_snapshot, verb=snapshot_operations.revert_disk, name="one"),
    ),
    "revert, delete it": (
        with_snapshot,
        partial(of_snapshot, verb=snapshot_operations.revert_disk, name="one"),
        partial(of_snapshot, verb=snapshot_operations.delete_disk_snapshot, name="one"),
    ),
    "delete a snapshot, snapshot": (
        with_snapshot,
        partial(of_snapshot, verb=snapshot_operations.delete_disk_snapshot, name="one"),
        partial(snapshot, name="one"),
    ),
    "terminate, create": (running, TERMINATE, create),
    "terminate, delete its disk": (with_disk, TERMINATE, delete_disk),
    "terminate, attach its disk": (
        lambda cloud: (with_disk(cloud), cloud.running(vm_id="other")),
        TERMINATE,
        partial(attach, vm_id="other"),
    ),
    "terminate, delete its image": (with_image_in_use, TERMINATE, partial(delete_image, name="golden")),
    "delete a disk, create": (
        beside_disk,
        delete_disk,
        lambda cloud: cloud.create_disk(),
    ),
}


def refusal_of(ask, cloud):
    try:
        ask(cloud)
    except CumuletError as refused:
        return refused
    return None


@pytest.mark.parametrize(("before", "first", "second"), PAIRS.values(), ids=PAIRS)
def test_what_is_right_once_the_first_has_settled_is_refused_only_for_now(cloud, before, first, second):
    before(cloud)
    first(cloud)
    refused = refusal_of(second, cloud)
    if refused is not None:
        assert refused.passing, refused.message
        cloud.settle()
        second(cloud)
    cloud.settle()


def test_what_a_vm_has_whose_time_is_over_is_refused_only_for_now(cloud):
    with_image_in_use(cloud)
    cloud.attached()
    verb, data = change_operations.update_vm_expire_time, UpdateVmExpireTime(ttl="60s")
    cloud.call(verb, project_id=PROJECT, id="hello", data=data)
    cloud.clock.advance(60)
    cloud.host.unreachable = True
    cloud.run()
    for second in (delete_disk, partial(delete_image, name="golden")):
        refused = refusal_of(second, cloud)
        assert refused is not None
        assert refused.passing, refused.message
