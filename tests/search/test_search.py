"""One search over all that a user's projects own."""

import pytest
from tests.projects.people import add_user

from cumulet.disks.snapshot_operations import create_disk_snapshot, delete_disk_snapshot
from cumulet.disks.wire import CreateDiskSnapshot
from cumulet.networks import operations as networks
from cumulet.networks import wire as network_wire
from cumulet.permission import CloudRole, Role
from cumulet.search.operations import search_resources
from cumulet.security_groups.operations import create_security_group
from cumulet.security_groups.wire import CreateSecurityGroup


@pytest.fixture
def shop(cloud):
    """A cloud with a VM, its boot disk, a storage disk with a snapshot, a network and a security group."""
    cloud.create(vm_id="shop")
    cloud.used_disk("shop-data")
    snapshot = CreateDiskSnapshot(snapshot_id="before-shop")
    cloud.call(create_disk_snapshot, project_id="default", id="shop-data", data=snapshot)
    network = network_wire.CreateNetwork(id="backshop", data_center_id="local", ip_range="10.1.0.0/24")
    cloud.call(networks.create_network, project_id="default", data=network)
    group = CreateSecurityGroup(id="shop-web", data_center_id="local", rules=[])
    cloud.call(create_security_group, project_id="default", data=group)
    return cloud


def found(cloud, query, caller=None):
    results = cloud.call(search_resources, caller, query=query).results
    return [(one.resource_type, one.resource_name) for one in results]


def test_what_has_a_text_in_its_id_is_found_the_nearest_first(shop):
    assert found(shop, "SHOP")[0] == ("virtualMachine", "projects/default/vms/shop")
    assert set(found(shop, "shop")) >= {
        ("virtualMachine", "projects/default/vms/shop"),
        ("disk", "projects/default/disks/shop-data"),
        ("snapshot", "projects/default/disks/shop-data/snapshots/before-shop"),
        ("network", "projects/default/networks/backshop"),
        ("securityGroup", "projects/default/networks/security-groups/shop-web"),
    }
    assert found(shop, "nothing") == []


def test_each_kind_is_in_a_member_of_its_own(shop):
    (vm,) = [one for one in shop.call(search_resources, query="shop").results if one.virtual_machine]
    assert (vm.virtual_machine.id, vm.virtual_machine.vcpus, vm.score) == ("shop", 2, 1.0)
    assert (vm.disk, vm.project) == (None, None)
    (project,) = shop.call(search_resources, query="default").results[:1]
    assert project.project.id == "default"
    assert project.project.resource_count >= 4


def test_a_snapshot_that_is_being_deleted_is_not_found(shop):
    (one,) = shop.call(search_resources, query="before-shop").results
    assert (one.snapshot.disk_id, one.snapshot.id, one.score) == ("shop-data", "before-shop", 1.0)
    shop.settle()
    shop.call(delete_disk_snapshot, project_id="default", id="shop-data", snapshot_id="before-shop")
    assert found(shop, "before-shop") == []


def test_signs_of_a_pattern_are_looked_for_as_they_are(shop):
    assert found(shop, "sh_p") == []
    assert found(shop, "%") == []


def test_nobody_finds_what_is_in_projects_of_others(shop):
    with shop.database.writing() as db:
        stranger = add_user(db, "stranger")
        viewer = add_user(db, "viewer", default=Role.VIEWER)
        auditor = add_user(db, "auditor", CloudRole.AUDITOR)
    assert found(shop, "shop", stranger) == []
    assert found(shop, "default", stranger) == []
    assert found(shop, "shop", viewer) == found(shop, "shop", auditor) == found(shop, "shop")
