"""What operators see of hosts, and what they ask of one."""

import pytest
from sqlalchemy import select
from tests.made_up import make_cloud

from cumulet.errors import Invalid, NotFound, Refused
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import AskOfHost, DrainHost, HostVm, LabelHost, LoseHost
from cumulet.hosts import Host, HostState, HostWanted, Reservation
from cumulet.journal import events_about
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs

ONE, TWO = "memory-1", "memory-2"


@pytest.fixture
def cloud(database, tmp_path):
    return make_cloud(database, tmp_path, hypervisor="memory:?hosts=2&vcpus=8&memory_gib=16&disk_gib=100")


def host_of(cloud, id):
    return cloud.call(hosts.get_host, id=id).host


def ids_of(cloud):
    with cloud.database.reading() as db:
        return dict(db.execute(select(Host.name, Host.id)).all())


def remains(cloud, id):
    return cloud.call(hosts.get_host, id=id).remains


def keep_off(cloud, *names):
    for name in names:
        cloud.call(hosts.cordon_host, id=name, data=AskOfHost())


def silence(cloud, name):
    with cloud.database.reading() as db:
        (id,) = [id for id in cloud.hosts if db.get_one(Host, id).name == name]
    cloud.hosts[id].unreachable = True
    cloud.sweep()
    cloud.pass_time(15)
    return cloud.hosts[id]


def test_hosts_are_listed_with_what_of_them_is_reserved(cloud):
    keep_off(cloud, TWO)
    cloud.running(vcpus=4, memory_gib=4)
    cloud.create_disk("data", 10)
    one, two = cloud.call(hosts.list_hosts).hosts
    assert (one.id, one.state, one.vms, one.running_vms) == (ONE, HostState.UP, 1, 1)
    assert (one.cpus, one.reserved_cpus, one.memory_gib, one.reserved_memory_gib) == (8, 0.5, 16, 4)
    (pool,) = one.disk_pools
    assert (pool.id, pool.disk_gib, pool.reserved_disk_gib) == ("local", 100, 1 + 10)
    assert (two.vms, two.reserved_cpus, two.reserved_memory_gib) == (0, 0, 0)


def test_a_list_of_hosts_is_read_by_pages(cloud):
    first = cloud.call(hosts.list_hosts, page_size=1)
    second = cloud.call(hosts.list_hosts, page_size=1, page_token=first.page_token)
    assert [[host.id for host in page.hosts] for page in (first, second)] == [[ONE], [TWO]]
    assert second.page_token == ""


def test_a_cordoned_host_takes_nothing_new_and_keeps_what_it_has(cloud):
    keep_off(cloud, TWO)
    cloud.running()
    cloud.call(hosts.cordon_host, id=ONE, data=AskOfHost(reason="new fans"))
    assert (host_of(cloud, ONE).state, host_of(cloud, ONE).why) == (HostState.CORDONED, "new fans")
    with pytest.raises(Invalid, match="2 hosts: cordoned"):
        cloud.create(vm_id="another")
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    cloud.ask(verbs.start_vm)
    cloud.settle()
    assert cloud.vm().state.value == "ACTIVE"
    cloud.call(hosts.uncordon_host, id=ONE)
    cloud.create(vm_id="another")
    assert host_of(cloud, ONE).vms == 2


def test_a_drained_host_is_in_maintenance_once_nothing_is_to_run_there(cloud):
    keep_off(cloud, TWO)
    cloud.running()
    cloud.call(hosts.drain_host, id=ONE, data=DrainHost(reason="move to rack 4"))
    cloud.sweep()
    assert host_of(cloud, ONE).state is HostState.DRAINING
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    cloud.sweep()
    assert (host_of(cloud, ONE).state, host_of(cloud, ONE).why) == (HostState.MAINTENANCE, "move to rack 4")
    with pytest.raises(Invalid, match="1 host: in maintenance; 1 host: cordoned"):
        cloud.create(vm_id="another")


def test_what_is_asked_of_a_silent_host_counts_when_it_is_back(cloud):
    host = silence(cloud, ONE)
    cloud.call(hosts.cordon_host, id=ONE, data=AskOfHost(reason="look at it first"))
    shown = host_of(cloud, ONE)
    assert (shown.state, shown.wanted) == (HostState.SILENT, HostWanted.CORDONED)
    host.unreachable = False
    cloud.pass_time(15)
    assert (host_of(cloud, ONE).state, host_of(cloud, ONE).why) == (HostState.CORDONED, "look at it first")


def test_who_asked_for_what_is_in_the_journal(cloud):
    keep_off(cloud, ONE)
    cloud.call(hosts.label_host, id=ONE, data=LabelHost(labels={"rack": "3"}))
    with cloud.database.reading() as db:
        told = [(one.event, one.text, one.actor) for one in events_about(db, next(iter(cloud.hosts)))]
    assert told == [
        ("host.cordoned", "memory-1 is CORDONED", cloud.owner.email),
        ("host.labelled", "its labels are rack=3", cloud.owner.email),
    ]


def test_a_host_has_the_labels_that_were_given_last(cloud):
    cloud.call(hosts.label_host, id=ONE, data=LabelHost(labels={"rack": "3", "ssd": ""}))
    cloud.call(hosts.label_host, id=ONE, data=LabelHost(labels={"rack": "4"}))
    assert host_of(cloud, ONE).labels == {"rack": "4"}


@pytest.mark.parametrize("labels", [{"": "x"}, {"a=b": "x"}, {"a" * 64: "x"}, {"a": "x" * 64}])
def test_labels_that_nobody_could_write_are_refused(cloud, labels):
    with pytest.raises(Invalid, match="labels"):
        cloud.call(hosts.label_host, id=ONE, data=LabelHost(labels=labels))


def test_a_host_is_removed_when_nothing_is_on_it(cloud):
    cloud.sweep()
    cloud.call(hosts.remove_host, id=TWO)
    assert [host.id for host in cloud.call(hosts.list_hosts).hosts] == [ONE]
    with pytest.raises(NotFound, match="there is no host 'memory-2'; there is only 'memory-1'"):
        cloud.call(hosts.get_host, id=TWO)
    cloud.pass_time(60)
    assert cloud.due("host", next(iter(cloud.hosts))).error == ""
    assert not any(cloud.due("host", id) for id in [*cloud.hosts][1:])


def test_nobody_looks_at_a_host_any_more_that_was_removed(cloud):
    cloud.call(hosts.remove_host, id=TWO)
    cloud.sweep()
    assert [bool(cloud.due("host", id)) for id in cloud.hosts] == [True, False]


def test_a_host_with_gpus_is_removed_with_them(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?gpus=2&gpu_model=H100")
    cloud.sweep()
    cloud.settle()
    cloud.call(hosts.remove_host, id=ONE)
    assert cloud.count(Host) == 0


def test_what_is_still_on_a_host_keeps_it_and_is_told(cloud):
    keep_off(cloud, TWO)
    cloud.running()
    cloud.used_disk("data")
    assert remains(cloud, ONE) == ["1 VM (default:hello)", "1 disk (default:data)"]
    assert cloud.call(hosts.get_host, id=ONE).vms == [
        HostVm(project_id="default", id="hello", state=VmState.ACTIVE)
    ]
    with pytest.raises(
        Refused, match=r"on it there is still 1 VM \(default:hello\), 1 disk \(default:data\)"
    ):
        cloud.call(hosts.remove_host, id=ONE)


def test_a_disk_that_holds_nothing_yet_keeps_no_host_as_long_as_another_has_room(cloud):
    cloud.create_disk("data")
    ids = ids_of(cloud)
    home, other = sorted(ids, key=lambda name: ids[name] != cloud.disk_row().host_id)
    cloud.call(hosts.remove_host, id=home)
    assert cloud.disk_row().host_id == ids[other]
    with cloud.database.reading() as db:
        assert set(db.scalars(select(Reservation.host_id))) == {cloud.disk_row().host_id}
    assert remains(cloud, other) == ["1 disk (default:data)"]


def test_a_disk_that_holds_nothing_yet_keeps_a_host_when_no_other_has_room(cloud):
    cloud.create_disk("data")
    ids = ids_of(cloud)
    home, other = sorted(ids, key=lambda name: ids[name] != cloud.disk_row().host_id)
    keep_off(cloud, other)
    with pytest.raises(Invalid, match="no host has capacity for this disk"):
        cloud.call(hosts.remove_host, id=home)
    assert cloud.disk_row().host_id == ids[home]


def test_only_a_silent_host_is_given_up_and_only_on_the_operators_word(cloud):
    with pytest.raises(Refused, match="is UP: only one that is SILENT"):
        cloud.call(hosts.lose_host, id=ONE, data=LoseHost(confirm=ONE))
    silence(cloud, ONE)
    with pytest.raises(Invalid, match="confirm: 'yes' is not accepted; expected 'memory-1'"):
        cloud.call(hosts.lose_host, id=ONE, data=LoseHost(confirm="yes"))
    cloud.call(hosts.lose_host, id=ONE, data=LoseHost(confirm=ONE))
    shown = host_of(cloud, ONE)
    assert (shown.state, shown.why) == (
        HostState.LOST,
        f"{cloud.owner.email} confirmed that nothing runs on it any more",
    )


def test_copies_of_an_image_are_told_with_their_hosts_by_any_name_that_it_has(cloud):
    cloud.images.set_aliases("micro", ("tiny",))
    cloud.running()
    cloud.sweep()
    host = cloud.hosts[cloud.row().host_id].facts().name
    asked = {id: cloud.call(hosts.list_image_copies, image_id=id) for id in ("", "micro", "tiny")}
    assert [(copy.host_id, copy.id) for copy in asked["tiny"].copies] == [(host, "micro")]
    assert asked["tiny"] == asked["micro"]
    assert asked[""].copies == asked["micro"].copies
    assert cloud.call(hosts.list_image_copies, image_id="default:own").copies == []
    with pytest.raises(NotFound, match="'micro', 'tiny'"):
        cloud.call(hosts.list_image_copies, image_id="mikro")
