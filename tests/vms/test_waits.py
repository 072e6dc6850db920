"""One request right after another: what is right once the first has settled waits for that, and is not refused for good."""

from functools import partial

import pytest
from sqlalchemy import select, update
from tests.made_up import PROJECT

from cumulet.disks import operations as disk_verbs
from cumulet.disks import snapshot_operations
from cumulet.disks import vm_operations as disk_operations
from cumulet.disks.wire import CreateDiskSnapshot
from cumulet.errors import CumuletError
from cumulet.hypervisor import MOST_STORAGE_DISKS
from cumulet.networks import Network
from cumulet.networks import operations as network_verbs
from cumulet.networks.wire import CreateNetwork
from cumulet.private_images import create as image_operations
from cumulet.private_images import operations as image_verbs
from cumulet.security_groups import operations as group_verbs
from cumulet.security_groups.wire import CreateSecurityGroup
from cumulet.vms import change_operations
from cumulet.vms import operations as vm_verbs
from cumulet.vms.wire import NicRequest, UpdateVmExpireTime


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


def delete_network(cloud, name="backend"):
    cloud.ask(network_verbs.delete_network, name)


def make_network(cloud, name="backend"):
    data = CreateNetwork(id=name, data_center_id="local", ip_range="10.1.0.0/24")
    cloud.call(network_verbs.create_network, project_id=PROJECT, data=data)
    cloud.settle()


def delete_group(cloud):
    cloud.ask(group_verbs.delete_security_group, "web")


def running(cloud):
    cloud.running()


def on_network(cloud):
    make_network(cloud)
    cloud.running(nics=[NicRequest(network_id="backend")])


def in_group(cloud):
    data = CreateSecurityGroup(id="web", data_center_id="local")
    cloud.call(group_verbs.create_security_group, project_id=PROJECT, data=data)
    cloud.running(security_group_ids=["web"])


def on_full_network(cloud):
    on_network(cloud)
    with cloud.database.writing() as db:
        network_id = db.scalars(select(Network.id).where(Network.name == "backend")).one()
        db.execute(update(Network).where(Network.id == network_id).values(range="10.1.0.0/29"))
    for number in range(2, 6):
        cloud.create(vm_id=f"vm-{number}", nics=[NicRequest(network_id="backend")])
    cloud.settle()


def with_all_disks(cloud):
    cloud.running()
    cloud.attached()
    for number in range(1, MOST_STORAGE_DISKS):
        cloud.attached(f"data-{number}")
    cloud.create_disk("more")


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
    "terminate, snapshot of its disk": (with_disk, TERMINATE, partial(snapshot, name="one", disk_id="data")),
    "terminate, delete its network": (on_network, TERMINATE, delete_network),
    "terminate, delete its group": (in_group, TERMINATE, delete_group),
    "terminate, a VM with its address": (
        on_full_network,
        TERMINATE,
        partial(create, vm_id="other", nics=[NicRequest(network_id="backend")]),
    ),
    "detach, snapshot": (with_disk, detach, partial(snapshot, name="one", disk_id="data")),
    "detach, attach another": (with_all_disks, detach, partial(attach, id="more")),
    "delete a network, another with its range": (
        make_network,
        delete_network,
        partial(make_network, name="other"),
    ),
    "delete the default network, create": (
        lambda cloud: (cloud.running(), TERMINATE(cloud), cloud.settle()),
        partial(delete_network, name="default-local"),
        create,
    ),
    "delete a disk, create": (
        beside_disk,
        delete_disk,
        lambda cloud: cloud.create_disk(),
    ),
}


@pytest.fixture
def database_kind() -> str:
    """A state decides whether a verb is refused only for now; each verb has tests of its own on both."""
    return "sqlite"


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
    TERMINATE(cloud, id="first")
    cloud.attached()
    verb, data = change_operations.update_vm_expire_time, UpdateVmExpireTime(ttl="60s")
    cloud.call(verb, project_id=PROJECT, id="hello", data=data)
    cloud.clock.advance(60)
    cloud.host.unreachable = True
    cloud.run()
    for second in (
        delete_disk,
        partial(delete_image, name="golden"),
        partial(delete_network, name="default-local"),
    ):
        refused = refusal_of(second, cloud)
        assert refused is not None
        assert refused.passing, refused.message
