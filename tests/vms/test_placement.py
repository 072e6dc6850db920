"""Where VMs go among several hosts: by labels, near to or apart from others, spread or packed, and one at a time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select
from tests.made_up import NOON, PROJECT, make_cloud
from tests.watching import statements_of

from cumulet.catalogue import Placement, read_catalogue
from cumulet.errors import Invalid
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import LabelHost
from cumulet.hosts import Host, Reservation
from cumulet.permission import Role
from cumulet.projects.model import Membership, Project
from cumulet.vm_record import Vm
from cumulet.vms import move_operations
from cumulet.vms.create import rows
from cumulet.vms.offers import list_vm_machine_types2
from cumulet.vms.wire import MoveVm

THREE = "memory:?hosts=3&vcpus=16&memory_gib=17&disk_gib=100"


@pytest.fixture
def cloud(database, tmp_path):
    return make_cloud(database, tmp_path, hypervisor=THREE, catalogue=catalogue())


def catalogue(*, placement=Placement.SPREAD):
    """`standard` on every host, `genoa` on those with that processor."""
    found = read_catalogue(None)
    (data_center,), (standard,) = found.data_centers, found.machine_types
    return replace(
        found,
        data_centers=(replace(data_center, placement=placement),),
        machine_types=(standard, replace(standard, id="genoa", host_labels={"cpu": "genoa"})),
    )


def host_of(cloud, id):
    with cloud.database.reading() as db:
        return db.scalar(select(Host.name).join(Vm, Vm.host_id == Host.id).where(Vm.name == id))


def create(cloud, id, **fields):
    cloud.create(vm_id=id, **fields)
    return host_of(cloud, id)


def label(cloud, name, **labels):
    cloud.call(hosts.label_host, id=name, data=LabelHost(labels=labels))


def test_vms_of_a_machine_type_go_to_hosts_with_all_its_labels(cloud):
    label(cloud, "memory-2", cpu="genoa", rack="3")
    assert {create(cloud, f"vm-{number}", machine_type="genoa") for number in range(3)} == {"memory-2"}
    assert {create(cloud, f"any-{number}") for number in range(2)} == {"memory-1", "memory-3"}


def test_a_refusal_tells_which_hosts_are_not_for_a_machine_type(cloud):
    label(cloud, "memory-2", cpu="genoa")
    with pytest.raises(Invalid, match="2 hosts: not for machine type 'genoa'; 1 host: 16 GiB memory free"):
        create(cloud, "large", machine_type="genoa", memory_gib=17)


def test_what_a_machine_type_has_free_is_that_of_its_hosts(cloud):
    label(cloud, "memory-2", cpu="genoa")
    offers = cloud.call(list_vm_machine_types2).machine_types
    assert {one.machine_type: one.total_memory_gib_free for one in offers} == {"standard": 48, "genoa": 16}


def test_vms_are_spread_unless_the_catalogue_says_to_pack_them(cloud):
    assert len({create(cloud, f"spread-{number}") for number in range(3)}) == 3
    cloud.catalogue = catalogue(placement=Placement.PACK)
    assert len({create(cloud, f"packed-{number}") for number in range(3)}) == 1


def looks_at_all(cloud, id, **fields):
    with statements_of(cloud.database) as asked:
        create(cloud, id, **fields)
    return any("FROM host" in one and "WHERE host.data_center_id" in one for one in asked)


def test_where_numbers_alone_decide_no_host_is_looked_at_but_the_one_that_is_chosen(cloud):
    assert not looks_at_all(cloud, "plain")
    assert looks_at_all(cloud, "apart", metadata={"cumulet/apart": "web"})


def test_where_its_disk_holds_something_a_vm_goes_there_and_no_other_host_is_looked_at(cloud):
    cloud.used_disk()
    home = cloud.disk_row().host_id
    assert not looks_at_all(cloud, "near", storage_disk_ids=["data"])
    assert cloud.row("near").host_id == home


def test_for_disks_that_hold_nothing_all_hosts_are_looked_at(cloud):
    cloud.create_disk("empty")
    assert looks_at_all(cloud, "any", storage_disk_ids=["empty"])


def test_where_the_host_of_its_disk_has_no_room_a_vm_goes_elsewhere(cloud):
    cloud.used_disk()
    home = cloud.disk_row().host_id
    with cloud.database.writing() as db:
        db.get_one(Host, home).memory_mib = 1024
    assert looks_at_all(cloud, "far", storage_disk_ids=["data"])
    assert cloud.row("far").host_id != home


def test_where_its_disk_was_brought_elsewhere_a_moment_ago_a_vm_goes_there(cloud, monkeypatch):
    cloud.used_disk()
    home = cloud.disk_row().host_id
    monkeypatch.setattr(rows, "home_of", lambda *_: next(id for id in cloud.hosts if id != home))
    cloud.create(vm_id="new", storage_disk_ids=["data"])
    assert cloud.row("new").host_id == home


def test_vms_that_are_to_be_apart_never_share_a_host(cloud):
    apart = {"metadata": {"cumulet/apart": "web"}}
    assert len({create(cloud, f"web-{number}", memory_gib=1, **apart) for number in range(3)}) == 3
    with pytest.raises(Invalid, match="3 hosts: has a VM with cumulet/apart=web"):
        create(cloud, "web-3", memory_gib=1, **apart)
    create(cloud, "other", memory_gib=1, metadata={"cumulet/apart": "db"})
    create(cloud, "none", memory_gib=1)


def test_vms_that_are_to_be_together_share_a_host_or_are_refused(cloud):
    together = {"metadata": {"cumulet/together": "cache"}}
    first = create(cloud, "one", memory_gib=8, **together)
    assert create(cloud, "two", memory_gib=8, **together) == first
    with pytest.raises(Invalid, match="2 hosts: has no VM with cumulet/together=cache"):
        create(cloud, "three", memory_gib=8, **together)


def test_a_host_that_a_vm_is_on_its_way_to_has_it_already_for_those_that_are_to_be_apart_from_it(cloud):
    apart = {"memory_gib": 1, "metadata": {"cumulet/apart": "web"}}
    create(cloud, "one", **apart)
    create(cloud, "two", **apart)
    cloud.settle()
    (third,) = {"memory-1", "memory-2", "memory-3"} - {host_of(cloud, "one"), host_of(cloud, "two")}
    cloud.call(move_operations.move_vm, data=MoveVm(project_id=PROJECT, vm_id="one", host_id=third))
    with pytest.raises(Invalid, match="3 hosts: has a VM with cumulet/apart=web"):
        create(cloud, "three", **apart)
    with pytest.raises(Invalid, match="has a VM with cumulet/apart=web"):
        cloud.call(move_operations.move_vm, data=MoveVm(project_id=PROJECT, vm_id="two", host_id=third))


def test_who_is_to_be_with_a_vm_that_is_on_its_way_goes_where_that_goes(cloud):
    together = {"memory_gib": 1, "metadata": {"cumulet/together": "cache"}}
    create(cloud, "one", **together)
    cloud.settle()
    other = "memory-1" if host_of(cloud, "one") != "memory-1" else "memory-2"
    cloud.call(move_operations.move_vm, data=MoveVm(project_id=PROJECT, vm_id="one", host_id=other))
    assert create(cloud, "two", **together) == other


def test_who_is_apart_is_a_matter_of_each_project(cloud, database):
    with database.writing() as db:
        db.add(Project(id="other", billing_account_id="b", created_by=cloud.owner.user_id, created_at=NOON))
        db.flush()
        db.add(Membership(user_id=cloud.owner.user_id, project_id="other", role=Role.OWNER))
    apart = {"metadata": {"cumulet/apart": "web"}, "memory_gib": 1}
    for number in range(3):
        create(cloud, f"web-{number}", **apart)
    assert create(cloud, "theirs", project_id="other", **apart)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_of_servers_that_race_for_the_last_room_one_gets_it(cloud, open_database):
    servers = [replace(cloud, database=open_database()) for _ in range(6)]
    for number in range(2):
        create(cloud, f"before-{number}", memory_gib=16)

    def race(number):
        try:
            return bool(servers[number].create(vm_id=f"racing-{number}", memory_gib=16))
        except Invalid:
            return False

    with ThreadPoolExecutor(len(servers)) as pool:
        assert sum(pool.map(race, range(len(servers)))) == 1
    with cloud.database.reading() as db:
        rooms = db.execute(select(Reservation.host_id).where(Reservation.memory_mib > 0)).all()
    assert len(set(rooms)) == len(rooms) == 3
