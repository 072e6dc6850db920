from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import delete, update
from tests.made_up import PROJECT
from tests.projects.people import ed25519_line
from tests.watching import statements_of

from cumulet.disks import Disk
from cumulet.errors import Invalid, NotFound
from cumulet.hosts import Host, register_host
from cumulet.networks import ExternalAddress, Network, NicGroup
from cumulet.projects import operations as projects
from cumulet.projects.wire import CreateProject
from cumulet.reconcile import Due
from cumulet.security_groups import SecurityGroup
from cumulet.security_groups import operations as groups
from cumulet.security_groups.wire import CreateSecurityGroup
from cumulet.vm_record.wire import VmState
from cumulet.vms import change_operations
from cumulet.vms import operations as verbs
from cumulet.vms.offers import get_vm_machine_type, list_vm_data_centers, list_vm_machine_types2
from cumulet.vms.views import vm
from cumulet.vms.views.lists import KeptVms
from cumulet.vms.wire import NicRequest, UpdateVmMetadata


@pytest.fixture
def statements(cloud):
    """Count the SQL statements of what is done."""

    def count(do):
        with statements_of(cloud.database) as seen:
            do()
        return len(seen)

    return count


def list_all(cloud, **query):
    return cloud.call(verbs.list_vms, project_id=PROJECT, **query).vms


@pytest.fixture
def create_full(cloud):
    """Create a VM that has everything there may be several of."""
    for id in ("web", "ops"):
        data = CreateSecurityGroup(id=id, data_center_id="local")
        cloud.call(groups.create_security_group, project_id=PROJECT, data=data)

    def create(name):
        disks = [cloud.create_disk(f"{name}-{disk}").id for disk in ("logs", "data")]
        nics = [NicRequest(), NicRequest(assign_public_ip=True, security_group_ids=["web", "ops"])]
        return cloud.create(vm_id=name, storage_disk_ids=disks, nics=nics)

    return create


def test_listing_many_vms_takes_as_many_statements_as_listing_two(cloud, create_full, statements):
    for number in range(2):
        create_full(f"vm-{number}")
    list_all(cloud)
    few = statements(lambda: list_all(cloud))
    for number in range(2, 8):
        create_full(f"vm-{number}")
    assert len(list_all(cloud)) == 8
    assert statements(lambda: list_all(cloud)) == few


CHANGES = {
    "labels": lambda cloud: cloud.call(
        change_operations.update_vm_metadata,
        project_id=PROJECT,
        id="a",
        data=UpdateVmMetadata(metadata={"team": "blue"}),
    ),
    "state": lambda cloud: (cloud.ask(verbs.stop_vm, "a"), cloud.settle()),
    "what it waits for": lambda cloud: change(
        cloud, update(Due).where(Due.kind == "vm").values(why="a while"), Due
    ),
    "a disk": lambda cloud: change(
        cloud, update(Disk).where(Disk.name == "a-data").values(size_gib=77), Disk
    ),
    "an external address": lambda cloud: change(cloud, delete(ExternalAddress), ExternalAddress),
    "a network's name": lambda cloud: change(cloud, update(Network).values(name="renamed"), Network),
    "a group's rules": lambda cloud: change(
        cloud,
        update(SecurityGroup).where(SecurityGroup.name == "web").values(description="new"),
        SecurityGroup,
    ),
    "a group that is detached": lambda cloud: change(cloud, delete(NicGroup), NicGroup),
    "its host's processor": lambda cloud: change(cloud, update(Host).values(cpu_model="another"), Host),
}


def change(cloud, statement, table):
    with cloud.database.writing() as db:
        assert db.execute(statement).rowcount, f"no row of {table.__tablename__} changed"


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_a_vm_is_shown_by_changes_its_place_in_a_list(cloud, create_full, what):
    for name in ("a", "b"):
        create_full(name)
    cloud.running(vm_id="c")
    cloud.create(vm_id="d")
    cloud.run()
    before = list_all(cloud)
    CHANGES[what](cloud)
    after = list_all(cloud)
    assert after != before
    assert after == [listed(cloud.vm(name)) for name in ("a", "b", "c", "d")]


def listed(vm):
    return msgspec.structs.replace(
        vm, authorized_ssh_keys="", guest=msgspec.structs.replace(vm.guest, log="")
    )


def test_vms_that_did_not_change_are_not_made_anew(cloud, create_full, monkeypatch):
    for name in ("a", "b", "c"):
        create_full(name)
    list_all(cloud)
    made = []
    of = vm._vm_view
    monkeypatch.setattr(vm, "_vm_view", lambda shown, *rest: made.append(shown.name) or of(shown, *rest))
    CHANGES["labels"](cloud)
    assert [one.metadata for one in list_all(cloud)] == [{"team": "blue"}, {}, {}]
    assert made == ["a"]


def test_only_so_many_vms_are_kept_and_none_whose_rows_differ():
    kept = KeptVms(most=2)
    for name in ("a", "b", "c"):
        kept.keep(name, ("catalogue", ["row"]), name)
    assert [kept.find(name, ("catalogue", ["row"])) for name in ("a", "b", "c")] == [None, "b", "c"]
    assert kept.find("c", ("catalogue", ["row", "another"])) is None
    assert kept.find("c", ("another", ["row"])) is None


def test_a_list_shows_each_vm_as_it_shows_alone(cloud, create_full):
    for name in ("b", "a", "c"):
        create_full(name)
        cloud.running(vm_id=f"plain-{name}")
    names = ["a", "b", "c", "plain-a", "plain-b", "plain-c"]
    assert list_all(cloud) == [cloud.vm(name) for name in names]
    assert cloud.call(verbs.count_vms, project_id=PROJECT).count == 6


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["team=blue"], ["api", "web"]),
        (["team=blue", "tier"], ["web"]),
        (["team"], ["api", "db", "web"]),
        (["team="], []),
        (["te"], []),
        (["7.a\"]$'=x=y"], ["db"]),
        (["note=🙂 ü"], ["api"]),
    ],
)
def test_a_list_can_be_of_those_with_some_labels(cloud, filters, names):
    labels = {
        "web": {"team": "blue", "tier": "1"},
        "api": {"team": "blue", "note": "🙂 ü"},
        "db": {"team": "red", "7.a\"]$'": "x=y"},
    }
    for name, metadata in labels.items():
        cloud.create(vm_id=name, metadata=metadata)
    assert [vm.id for vm in list_all(cloud, metadata=filters)] == names
    cloud.settle()
    assert [vm.id for vm in list_all(cloud, metadata=filters, network_id="default-local")] == names


@pytest.mark.parametrize("text", ["", "=blue"])
def test_a_filter_by_labels_names_a_key(cloud, text):
    with pytest.raises(Invalid, match=r"metadata: .*KEY=VALUE"):
        list_all(cloud, metadata=["team", text])


def test_a_vm_whose_end_was_asked_for_is_shown_until_it_is_gone_but_not_listed(cloud, create_full):
    for name in ("going", "staying"):
        create_full(name)
    cloud.ask(verbs.terminate_vm, "going")
    assert cloud.vm("going").state is VmState.DELETING
    network = cloud.vm("going").nics[0].network_id
    assert [vm.id for vm in list_all(cloud)] == ["staying"]
    assert [vm.id for vm in list_all(cloud, network_id=network)] == ["staying"]
    assert cloud.call(verbs.count_vms, project_id=PROJECT).count == 1
    cloud.settle()
    with pytest.raises(NotFound):
        cloud.vm("going")


def test_what_a_vm_has_several_of_is_shown_in_its_order(create_full):
    vm = create_full("hello")
    assert (vm.boot_disk.vm_id, [disk.id for disk in vm.storage_disks]) == (
        "hello",
        ["hello-data", "hello-logs"],
    )
    assert [nic.security_group_ids for nic in vm.nics] == [[], ["ops", "web"]]
    assert vm.internal_ip_address == vm.nics[0].internal_ip_address
    assert vm.external_ip_address == vm.nics[1].external_ip_address != ""


def test_a_vm_of_the_same_name_in_another_project_lends_nothing(cloud, create_full):
    cloud.call(projects.create_project, data=CreateProject(id="other"))
    create_full("hello")
    alone = cloud.vm()
    there = cloud.create(project_id="other")
    assert (there.storage_disks, there.nics, there.project_id) == ([], [], "other")
    assert cloud.vm() == alone
    assert [vm.project_id for vm in cloud.call(verbs.list_vms, project_id="other").vms] == ["other"]


def test_lists_take_turns_and_hold_up_nobody_else(cloud):
    cloud.create()
    with ThreadPoolExecutor() as callers:
        with verbs.ONE_LIST:
            listed = callers.submit(list_all, cloud)
            assert cloud.vm().id == "hello"
            with pytest.raises(TimeoutError):
                listed.result(timeout=0.2)
        assert [vm.id for vm in listed.result()] == ["hello"]


def test_an_empty_project_lists_nothing(cloud):
    assert list_all(cloud) == []
    assert cloud.call(verbs.count_vms, project_id=PROJECT).count == 0


def test_only_those_on_a_network_are_listed_when_it_is_named(cloud):
    cloud.create()
    assert [vm.id for vm in list_all(cloud, network_id="default-local")] == ["hello"]
    assert list_all(cloud, network_id="another") == []


def test_the_items_of_a_price_add_up_to_its_total(cloud):
    cloud.create(vcpus=3, memory_gib=7, boot_disk_size_gib=11)
    answer = cloud.ask(verbs.get_vm)
    items = ("vcpu", "memory", "gpu", "storage")
    parts = [Decimal(getattr(answer, f"total_{item}_price_hr").value) for item in items]
    assert sum(parts) + Decimal(answer.ipv4_price_hr.value) == Decimal(answer.total_price_hr.value)
    assert answer.vm.price.total_price_hr == answer.total_price_hr
    assert Decimal(answer.total_vcpu_price_hr.value) == 3 * Decimal(answer.vcpu_price_hr.value)


def test_what_is_free_is_less_by_what_is_reserved(cloud):
    def offered():
        (offer,) = cloud.call(list_vm_machine_types2).machine_types
        (data_center,) = cloud.call(list_vm_data_centers).data_centers
        return offer.total_vcpu_free, offer.total_memory_gib_free, data_center.ipv4_free

    before = offered()
    cloud.create(vcpus=3, memory_gib=5)
    after = offered()
    # the router of the project's first network takes an address too
    assert after == (before[0] - 3, before[1] - 5, before[2] - 2)


def test_a_machine_type_has_the_processor_of_its_hosts_and_can_be_asked_for_by_it(cloud):
    (listed,) = cloud.call(list_vm_machine_types2).machine_types
    assert listed.cpu_model == cloud.host.facts().cpu_model
    cloud.create(cpu_model=listed.cpu_model)
    assert cloud.vm().cpu_model == listed.cpu_model
    other = replace(cloud.host.facts(), name="other", cpu_model="another")
    with cloud.database.writing() as db:
        register_host(db, other, data_center_id="local", uri="memory:", now=cloud.clock())
    (mixed,) = cloud.call(list_vm_machine_types2).machine_types
    assert mixed.cpu_model == ""


def test_one_machine_type_is_shown_as_it_is_listed(cloud):
    (listed,) = cloud.call(list_vm_machine_types2).machine_types
    where = {"data_center_id": "local", "machine_type_id": "standard"}
    assert cloud.call(get_vm_machine_type, **where) == listed
    with pytest.raises(NotFound, match="'huge'"):
        cloud.call(get_vm_machine_type, **(where | {"machine_type_id": "huge"}))


def test_the_console_log_is_what_the_guest_wrote(cloud):
    cloud.running()
    assert cloud.ask(verbs.get_vm_console_log).text == "start 1 of hello\n"


def test_lists_do_not_carry_the_keys_of_every_vm(cloud):
    cloud.create(custom_ssh_keys=[ed25519_line(1)])
    assert cloud.vm().authorized_ssh_keys == ed25519_line(1)
    (listed,) = cloud.call(verbs.list_vms, project_id=PROJECT).vms
    assert listed.authorized_ssh_keys == ""
