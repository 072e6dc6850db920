"""What a project may have: who sees it, who sets it, and that no verb gets beyond it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from threading import Barrier

import pytest
from tests.made_up import PROJECT, make_cloud
from tests.projects.people import add_user

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.disks import operations as disks
from cumulet.disks import snapshot_operations as snapshots
from cumulet.disks import vm_operations as vm_disks
from cumulet.disks.wire import CreateDiskSnapshot, CreateStorageDisk
from cumulet.errors import CumuletError, Exhausted, Forbidden, Invalid, NotFound
from cumulet.hypervisor.memory import made_up_id
from cumulet.limits import Quotas
from cumulet.networks import operations as networks
from cumulet.networks.wire import CreateNetwork
from cumulet.private_images import create as images
from cumulet.projects import Role
from cumulet.quotas import allowance
from cumulet.quotas import operations as quotas
from cumulet.quotas.use import read_use
from cumulet.quotas.wire import SetQuota
from cumulet.security_groups import operations as groups
from cumulet.security_groups.wire import CreateSecurityGroup, Protocol, Rule, RuleType, UpdateSecurityGroup
from cumulet.vms import change_operations as changes
from cumulet.vms import operations as verbs
from cumulet.vms.wire import NicRequest


def set_quota(cloud, name, limit, **more):
    data = SetQuota(limit=limit, unlimited=limit is None)
    cloud.call(quotas.set_quota, project_id=PROJECT, name=name, data=data, **more)


def shown(cloud, name):
    found = cloud.call(quotas.list_quotas, project_id=PROJECT).quotas
    return next((one.used, one.limit) for one in found if one.name == name)


def refusal(ask, *words, **more):
    with pytest.raises(Exhausted) as refused:
        ask(*words, **more)
    return refused.value


def create_disk(cloud, id="data", size_gib=10):
    data = CreateStorageDisk(data_center_id="local", id=id, size_gib=size_gib)
    cloud.call(disks.create_storage_disk, project_id=PROJECT, data=data)


def rules(number):
    return [Rule(protocol=Protocol.TCP, rule_type=RuleType.INBOUND, ports=str(1 + n)) for n in range(number)]


def create_group(cloud, id, number):
    data = CreateSecurityGroup(id=id, data_center_id="local", rules=rules(number))
    cloud.call(groups.create_security_group, project_id=PROJECT, data=data)


def change_group(cloud, id, number):
    data = UpdateSecurityGroup(rules=rules(number))
    cloud.call(groups.update_security_group, project_id=PROJECT, id=id, data=data)


def create_network(cloud, id="n", ip_range="10.7.0.0/24"):
    data = CreateNetwork(id=id, data_center_id="local", ip_range=ip_range)
    cloud.call(networks.create_network, project_id=PROJECT, data=data)


def take_snapshot(cloud, id, disk_id="hello-boot"):
    data = CreateDiskSnapshot(snapshot_id=id)
    cloud.call(snapshots.create_disk_snapshot, project_id=PROJECT, id=disk_id, data=data)
    cloud.settle()


def stopped(cloud, **fields):
    cloud.running(**fields)
    cloud.ask(verbs.stop_vm)
    cloud.settle()


def test_a_refusal_tells_limit_used_and_asked_in_words_and_for_programs(cloud):
    cloud.create(vcpus=3)
    set_quota(cloud, "vcpus", 4)
    refused = refusal(cloud.create, vm_id="second", vcpus=2)
    assert (refused.code, refused.http) == (8, 429)
    assert "vcpus: at most 4, 3 used, 2 more asked for" in refused.message
    info, failure = refused.details
    facts = {"project": PROJECT, "quota": "vcpus", "limit": "4", "used": "3", "asked": "2"}
    assert (info["reason"], info["metadata"]) == ("QUOTA_EXCEEDED", facts)
    assert failure["violations"][0]["subject"] == f"project:{PROJECT}"


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("vms", 1),
        ("vcpus", 2),
        ("memory_gib", 4),
        ("disk_gib", 3),
        ("external_addresses", 1),
        ("networks", 1),
    ],
)
def test_a_new_vm_takes_of_each_quota_and_not_more_than_there_is(cloud, name, takes):
    asked = {"vcpus": 2, "memory_gib": 4, "boot_disk_size_gib": 3}
    set_quota(cloud, name, takes - 1)
    refusal(cloud.create, **asked)
    assert shown(cloud, name) == (0, takes - 1)
    set_quota(cloud, name, takes)
    cloud.create(**asked)
    assert shown(cloud, name) == (takes, takes)


def test_a_nic_without_an_external_address_takes_none(cloud):
    create_network(cloud)
    set_quota(cloud, "external_addresses", 0)
    cloud.create(nics=[NicRequest(network_id="n")])
    refusal(cloud.create, vm_id="second", nics=[NicRequest(network_id="n", assign_public_ip=True)])


def test_gpus_are_counted_in_all_and_by_model(database, tmp_path):
    catalogue = with_gpus(read_catalogue(None), "H100", made_up_id("H100"))
    model = catalogue.machine_types[1].gpu_model_id
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?gpus=4&gpu_model=H100", catalogue=catalogue)
    cloud.sweep()
    asked = {"machine_type": "standard-h100", "gpus": 2}
    for name in ("gpus", f"gpus.{model}"):
        set_quota(cloud, name, 1)
        refusal(cloud.create, **asked)
        set_quota(cloud, name, 2)
    cloud.create(**asked)
    assert shown(cloud, f"gpus.{model}") == shown(cloud, "gpus") == (2, 2)
    set_quota(cloud, "gpus", None)
    assert (
        f"gpus.{model}: at most 2, 2 used, 1 more"
        in refusal(cloud.create, vm_id="b", **asked | {"gpus": 1}).message
    )


def test_what_the_catalogue_says_counts_until_an_operator_says_otherwise(database, tmp_path):
    cloud = make_cloud(database, tmp_path, catalogue=replace(read_catalogue(None), quotas=Quotas(vms=0)))
    refusal(cloud.create)
    set_quota(cloud, "vms", None)
    cloud.create()
    cloud.call(quotas.unset_quota, project_id=PROJECT, name="vms")
    refusal(cloud.create, vm_id="second")
    assert shown(cloud, "vms") == (1, 0)


def test_a_vm_grows_within_its_quotas_and_shrinks_beyond_them(cloud):
    stopped(cloud, vcpus=2, memory_gib=4)
    set_quota(cloud, "vcpus", 3)
    set_quota(cloud, "memory_gib", 1)
    resize = {"project_id": PROJECT, "id": "hello"}
    assert "2 more asked" in refusal(cloud.call, changes.resize_vm, **resize, vcpus=4).message
    cloud.call(changes.resize_vm, **resize, vcpus=3, memory_gib=2)
    assert shown(cloud, "memory_gib") == (2, 1)
    refusal(cloud.call, changes.resize_vm, **resize, memory_gib=3)


def test_disks_grow_within_their_quota(cloud):
    cloud.running(boot_disk_size_gib=2)
    set_quota(cloud, "disk_gib", 6)
    refusal(create_disk, cloud, size_gib=5)
    create_disk(cloud, size_gib=3)
    grow = {"project_id": PROJECT, "id": "hello", "disk_id": "hello-boot"}
    refusal(cloud.call, vm_disks.resize_vm_disk, **grow, size_gib=4)
    cloud.call(vm_disks.resize_vm_disk, **grow, size_gib=3)
    assert shown(cloud, "disk_gib") == (6, 6)


def test_snapshots_and_images_have_quotas(cloud):
    stopped(cloud)
    set_quota(cloud, "snapshots", 1)
    take_snapshot(cloud, "one")
    refusal(take_snapshot, cloud, "two")
    take = {"project_id": PROJECT, "vm_id": "hello"}
    set_quota(cloud, "images", 1)
    cloud.call(images.create_private_vm_image, **take, id="one")
    cloud.settle()
    refusal(cloud.call, images.create_private_vm_image, **take, id="two")
    assert (shown(cloud, "snapshots"), shown(cloud, "images")) == ((1, 1), (1, 1))


def test_networks_and_rules_have_quotas(cloud):
    set_quota(cloud, "networks", 1)
    create_network(cloud)
    refusal(create_network, cloud, "m", "10.8.0.0/24")
    set_quota(cloud, "rules", 3)
    create_group(cloud, "g", 2)
    refusal(create_group, cloud, "h", 2)
    refusal(change_group, cloud, "g", 4)
    change_group(cloud, "g", 3)
    set_quota(cloud, "rules", 1)
    change_group(cloud, "g", 2)
    assert shown(cloud, "rules") == (2, 1)


def test_nothing_is_taken_from_a_project_whose_limit_is_set_below_what_it_has(cloud):
    stopped(cloud)
    for name in ("vms", "vcpus", "memory_gib", "disk_gib", "external_addresses", "networks"):
        set_quota(cloud, name, 0)
    cloud.ask(verbs.start_vm)
    cloud.settle()
    assert cloud.vm().state.value == "ACTIVE"
    create_group(cloud, "g", 1)


def test_what_is_being_deleted_counts_until_it_is_gone_and_the_refusal_passes_then(cloud):
    cloud.running()
    set_quota(cloud, "vms", 1)
    assert not refusal(cloud.create, vm_id="second").passing
    cloud.ask(verbs.terminate_vm)
    assert refusal(cloud.create, vm_id="second").passing
    cloud.settle()
    cloud.create(vm_id="second")


def test_only_to_check_takes_nothing(cloud):
    set_quota(cloud, "vms", 1)
    cloud.create(validate_only=True)
    assert shown(cloud, "vms") == (0, 1)


def test_members_see_quotas_and_operators_set_them(cloud):
    with cloud.database.writing() as db:
        viewer = add_user(db, "vera", default=Role.VIEWER)
        stranger = add_user(db, "sam")
    found = cloud.call(quotas.list_quotas, viewer, project_id=PROJECT).quotas
    assert {one.name for one in found} >= {"vms", "rules"}
    with pytest.raises(NotFound):
        cloud.call(quotas.list_quotas, stranger, project_id=PROJECT)
    for caller in (viewer, stranger):
        with pytest.raises((Forbidden, NotFound)):
            set_quota(cloud, "vms", 3, caller=caller)


@pytest.mark.parametrize("data", [SetQuota(), SetQuota(limit=1, unlimited=True)])
def test_a_limit_is_a_number_or_none_at_all(cloud, data):
    with pytest.raises(Invalid, match="limit, unlimited: one of them"):
        cloud.call(quotas.set_quota, project_id=PROJECT, name="vms", data=data)


def test_quotas_and_projects_that_are_not_there_are_not_found(cloud):
    with pytest.raises(NotFound, match="there is no quota 'vm'; there are 'vms'"):
        set_quota(cloud, "vm", 1)
    with pytest.raises(NotFound, match="there is no project 'other'"):
        cloud.call(quotas.set_quota, project_id="other", name="vms", data=SetQuota(limit=1))
    with pytest.raises(NotFound, match="there is no quota"):
        cloud.call(quotas.unset_quota, project_id=PROJECT, name="vm")


def race(cloud, *asks):
    """Ask for all at once, and give what became of each."""
    start = Barrier(len(asks))

    def ask(one):
        start.wait()
        try:
            return one()
        except CumuletError as refused:
            return refused

    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(ask, asks))


def test_of_creates_that_race_for_a_quota_no_more_get_through_than_it_has_room_for(cloud):
    set_quota(cloud, "disk_gib", 30)
    set_quota(cloud, "vms", 2)
    number = count()
    asks = [lambda: create_disk(cloud, f"d{next(number)}") for _ in range(4)]
    asks += [lambda: cloud.create(vm_id=f"v{next(number)}", boot_disk_size_gib=5) for _ in range(4)]
    outcomes = race(cloud, *asks)
    assert all(isinstance(one, Exhausted) for one in outcomes if isinstance(one, Exception))
    assert shown(cloud, "disk_gib")[0] in {30, 25}
    assert shown(cloud, "vms")[0] <= 2


def test_groups_that_race_for_a_quota_share_no_host_and_obey_all_the_same(cloud):
    set_quota(cloud, "rules", 10)
    outcomes = race(cloud, *(lambda n=n: create_group(cloud, f"g{n}", 4) for n in range(6)))
    assert sum(outcome is None for outcome in outcomes) == 2
    assert shown(cloud, "rules") == (8, 10)


def test_a_create_counts_by_one_statement_where_something_is_limited_and_by_none_elsewhere(
    cloud, monkeypatch
):
    cloud.create()
    counts = []
    monkeypatch.setattr(allowance, "read_use", lambda *words: counts.append(words) or read_use(*words))
    cloud.create(vm_id="free", memory_gib=1)
    assert not counts
    for name in ("vms", "vcpus", "memory_gib", "disk_gib", "external_addresses"):
        set_quota(cloud, name, 1000)
    cloud.create(vm_id="limited", memory_gib=1)
    assert len(counts) == 1
