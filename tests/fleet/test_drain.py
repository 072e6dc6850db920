"""A host that is drained: what can go is moved away, and what cannot is told."""

from dataclasses import replace

import pytest
from sqlalchemy import select
from tests.made_up import make_cloud

from cumulet.catalogue import Placement, read_catalogue
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import AskOfHost, DrainHost
from cumulet.hosts import Host, HostState
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs

ONE, TWO = "memory-1", "memory-2"


@pytest.fixture
def cloud(database, tmp_path):
    """Two hosts of which one has three VMs, the last of them running."""
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=2&memory_gib=16")
    cloud.call(hosts.cordon_host, id=TWO, data=AskOfHost())
    for name in ("a", "b", "c"):
        cloud.running(vm_id=name)
    for name in ("a", "b"):
        cloud.ask(verbs.stop_vm, name)
    cloud.settle()
    cloud.call(hosts.uncordon_host, id=TWO)
    cloud.sweep()
    return cloud


def drain(cloud, *, restart=False):
    cloud.call(hosts.drain_host, id=ONE, data=DrainHost(reason="new fans", restart=restart))
    cloud.pass_time(200)


def shown(cloud, id):
    return cloud.call(hosts.get_host, id=id)


def name_of_host(cloud, name):
    with cloud.database.reading() as db:
        return db.get_one(Host, cloud.row(name).host_id).name


def packed(catalogue):
    (data_center,) = catalogue.data_centers
    return replace(catalogue, data_centers=(replace(data_center, placement=Placement.PACK),))


def have_other_processors(cloud):
    with cloud.database.reading() as db:
        two = db.scalar(select(Host.id).where(Host.name == TWO))
    cloud.hosts[two].change_processors("other")
    cloud.sweep()


def test_all_go_and_one_that_runs_is_not_started_anew(cloud):
    started = cloud.row("c").started
    drain(cloud)
    one = shown(cloud, ONE)
    assert (one.host.state, one.remains, one.stays) == (HostState.MAINTENANCE, [], {})
    assert (cloud.vm("c").state, cloud.row("c").started) == (VmState.ACTIVE, started)


def test_one_that_runs_and_cannot_go_like_that_stays_and_says_why(cloud):
    have_other_processors(cloud)
    drain(cloud)
    one, two = shown(cloud, ONE), shown(cloud, TWO)
    assert (one.host.state, one.host.vms, two.host.vms) == (HostState.DRAINING, 1, 2)
    assert one.stays.keys() == {"default:c"}
    assert "other processors than where the VM runs, which takes restart" in one.stays["default:c"]
    cloud.call(hosts.uncordon_host, id=ONE)
    assert shown(cloud, ONE).stays == {}, "nothing is to go any more"
    drain(cloud)
    cloud.ask(verbs.stop_vm, "c")
    cloud.pass_time(200)
    one = shown(cloud, ONE)
    assert (one.host.state, one.remains, one.stays) == (HostState.MAINTENANCE, [], {})


def test_it_goes_too_where_it_may_be_shut_down_for_it(cloud):
    have_other_processors(cloud)
    drain(cloud, restart=True)
    one = shown(cloud, ONE)
    assert (one.host.state, one.remains, one.stays) == (HostState.MAINTENANCE, [], {})
    assert (cloud.vm("a").state, cloud.vm("c").state) == (VmState.STOPPED, VmState.ACTIVE)


TOGETHER = {"metadata": {"cumulet/together": "cache"}}


def test_those_that_are_to_be_together_go_to_one_host_with_room_for_all_of_them(database, tmp_path):
    catalogue = packed(read_catalogue(None))
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=3&memory_gib=9", catalogue=catalogue)
    cloud.call(hosts.cordon_host, id="memory-3", data=AskOfHost())
    for name in ("a", "b"):
        cloud.running(vm_id=name, memory_gib=4, **TOGETHER)
    there = name_of_host(cloud, "a")
    (full,) = {ONE, TWO} - {there}
    cloud.running(vm_id="alone", memory_gib=4)
    cloud.call(hosts.uncordon_host, id="memory-3")
    cloud.call(hosts.drain_host, id=there, data=DrainHost())
    cloud.pass_time(200)
    assert shown(cloud, there).host.state is HostState.MAINTENANCE
    assert {name_of_host(cloud, name) for name in ("a", "b")} == {"memory-3"}, (
        f"{full} has room for one alone"
    )


def test_those_that_are_to_be_together_stay_where_nobody_has_room_for_all_of_them(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=2&memory_gib=9")
    for name in ("a", "b"):
        cloud.running(vm_id=name, memory_gib=4, **TOGETHER)
    there = name_of_host(cloud, "a")
    cloud.running(vm_id="alone", memory_gib=4)
    cloud.call(hosts.drain_host, id=there, data=DrainHost())
    cloud.pass_time(60)
    stays = shown(cloud, there).stays
    assert stays.keys() == {"default:a", "default:b"}
    assert "no host has capacity for this VM and those that are to be with it (memory-" in stays["default:a"]
    cloud.ask(verbs.terminate_vm, "alone")
    cloud.pass_time(100)
    assert (shown(cloud, there).host.vms, shown(cloud, there).stays) == (0, {})


def test_without_room_elsewhere_all_stay_and_say_why(cloud):
    cloud.call(hosts.cordon_host, id=TWO, data=AskOfHost())
    drain(cloud, restart=True)
    one = shown(cloud, ONE)
    assert (one.host.state, one.host.vms, len(one.stays)) == (HostState.DRAINING, 3, 3)
    assert "memory-2: cordoned" in one.stays["default:a"]
    cloud.call(hosts.uncordon_host, id=TWO)
    cloud.pass_time(200)
    assert (shown(cloud, ONE).host.vms, shown(cloud, ONE).stays) == (0, {})


def test_a_host_that_a_vm_is_coming_to_is_not_removed(cloud):
    (there,) = (host for id, host in cloud.hosts.items() if id != cloud.row("a").host_id)
    there.copy_step = 0.1
    cloud.call(hosts.drain_host, id=ONE, data=DrainHost())
    cloud.sweep()
    assert shown(cloud, ONE).host.state is HostState.DRAINING
    assert shown(cloud, TWO).remains == ["2 arriving VMs (default:a, default:b)"]
