"""Storage disks that a VM on another host gets: brought there whole, and never two of them that count."""

import gc

import pytest
from sqlalchemy import select
from tests.crash.faults import FaultyDatabase, insist
from tests.made_up import PROJECT, make_cloud
from tests.toy_reconcilers import Crash
from tests.vms.moving import LONG_ENOUGH, arm, calls_of, names, survive

from cumulet.disks import DiskState, vm_operations
from cumulet.disks import snapshot_operations as snapshots
from cumulet.disks.wire import CreateDiskSnapshot
from cumulet.errors import Invalid, Refused
from cumulet.fleet import operations as fleet
from cumulet.fleet.wire import AskOfHost
from cumulet.hosts import Reservation
from cumulet.vm_record.wire import VmState
from cumulet.vms import move_operations, operations
from cumulet.vms.reconcile import arrivals
from cumulet.vms.wire import MoveVm


@pytest.fixture
def cloud(database, tmp_path):
    """Two hosts with a VM each; a disk of `other` holds something and is free."""
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=2")
    cloud.create_disk()
    cloud.running(vm_id="other", storage_disk_ids=["data"])
    cloud.running()
    assert cloud.row("other").host_id != cloud.row().host_id, "hosts are filled evenly"
    cloud.hosts[cloud.row("other").host_id].write_disk(cloud.disk_row().id, "hard work")
    detach(cloud)
    cloud.settle()
    cloud.sweep()
    return cloud


def attach(cloud, vm_id="hello"):
    cloud.call(vm_operations.attach_storage_disk, project_id=PROJECT, id="data", vm_id=vm_id)


def detach(cloud):
    cloud.call(vm_operations.detach_storage_disk, project_id=PROJECT, id="data")


def host_of(cloud, vm_id="hello"):
    return cloud.hosts[cloud.row(vm_id).host_id]


def there(cloud):
    """On which hosts there is a disk of the name, and what it holds."""
    id = cloud.disk_row().id
    return {host_id: host.read_disk(id) for host_id, host in cloud.hosts.items() if id in host.contents.disks}


def room(cloud):
    """How much room the disk has, by host; both its reservations are the only ones of that size."""
    with cloud.database.reading() as db:
        found = select(Reservation.host_id, Reservation.disk_gib).where(Reservation.disk_gib == 10)
        return dict(db.execute(found).all())


def has_it(cloud, vm_id="hello"):
    """The VM runs with the disk, which is on its host and nowhere else."""
    machine = host_of(cloud, vm_id).contents.machines[cloud.row(vm_id).id]
    row = cloud.disk_row()
    return (
        machine.plugged == {row.id}
        and row.state is DiskState.USED
        and there(cloud) == {cloud.row(vm_id).host_id: "hard work"}
        and room(cloud) == {cloud.row(vm_id).host_id: 10}
    )


def test_a_disk_on_another_host_is_brought_to_a_vm_that_runs_and_plugged(cloud):
    before = cloud.disk_row().host_id
    attach(cloud)
    assert room(cloud) == {before: 10, cloud.row().host_id: 10}
    cloud.settle()
    assert has_it(cloud)
    assert cloud.vm().state is VmState.ACTIVE
    told = [entry.text for entry in cloud.ask(operations.get_vm_timeline).entries][-2:]
    assert told == [
        "attaching disk data requested, which lies on another host and is brought first",
        "disk data attached",
    ]


def test_its_snapshots_come_along_and_so_does_their_room(cloud):
    attach(cloud, "other")
    cloud.settle()
    cloud.ask(operations.stop_vm, "other")
    cloud.settle()
    snapshot = CreateDiskSnapshot(snapshot_id="one", vm_id="other")
    cloud.call(snapshots.create_disk_snapshot, project_id=PROJECT, id="data", data=snapshot)
    cloud.settle()
    detach(cloud)
    cloud.settle()
    attach(cloud)
    cloud.settle()
    assert len(host_of(cloud).disks.snapshots(cloud.disk_row().id)) == 1
    with cloud.database.reading() as db:
        (reserved,) = db.scalars(select(Reservation).where(Reservation.holder_id == cloud.disk_row().id))
    assert (reserved.host_id, reserved.disk_gib) == (cloud.row().host_id, 20)


def slow(cloud, monkeypatch):
    """Let disks take their time: how much of one is over is what the carrier says."""
    carrier = cloud.backends.carrier
    monkeypatch.setattr(type(carrier), "bring", lambda *_: 0.43)


def test_how_far_it_is_is_shown_with_the_disk_and_the_vm_while_that_goes_on(cloud, monkeypatch):
    slow(cloud, monkeypatch)
    attach(cloud)
    cloud.run()
    words = "moving disk data to the VM's host, 43%"
    assert (cloud.disk().waiting_for, cloud.vm().waiting_for, cloud.disk().vm_id) == (words, words, "hello")
    assert cloud.vm().state is VmState.ACTIVE
    cloud.ask(operations.stop_vm)
    cloud.pass_time(10)
    assert cloud.vm().state is VmState.STOPPED


def test_a_vm_that_is_started_meanwhile_finds_it_when_it_boots(cloud, monkeypatch):
    cloud.ask(operations.stop_vm)
    cloud.settle()
    with monkeypatch.context() as patch:
        slow(cloud, patch)
        attach(cloud)
        cloud.ask(operations.start_vm)
        cloud.pass_time(10)
        assert (cloud.vm().state, cloud.vm().waiting_for) == (
            VmState.STARTING,
            "moving disk data to the VM's host, 43%",
        )
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE
    assert has_it(cloud)


def test_a_new_vm_gets_disks_of_different_hosts_and_starts_with_them(cloud):
    cloud.create_disk("more")
    cloud.call(vm_operations.attach_storage_disk, project_id=PROJECT, id="more", vm_id="hello")
    cloud.settle()
    cloud.call(vm_operations.detach_storage_disk, project_id=PROJECT, id="more")
    cloud.settle()
    assert cloud.disk_row("more").host_id != cloud.disk_row().host_id
    cloud.create(vm_id="new", storage_disk_ids=["data", "more"])
    cloud.settle()
    machine = host_of(cloud, "new").contents.machines[cloud.row("new").id]
    assert machine.plugged == {cloud.disk_row().id, cloud.disk_row("more").id}
    assert there(cloud) == {cloud.row("new").host_id: "hard work"}


def test_a_new_vm_goes_to_the_host_of_its_disk_and_elsewhere_only_when_there_is_no_room(cloud):
    lies_on = cloud.disk_row().host_id
    cloud.create(vm_id="near", storage_disk_ids=["data"], memory_gib=1)
    assert cloud.row("near").host_id == lies_on
    cloud.ask(operations.terminate_vm, "near")
    cloud.settle()
    cloud.call(fleet.cordon_host, id=names(cloud)[lies_on], data=AskOfHost())
    cloud.create(vm_id="far", storage_disk_ids=["data"], memory_gib=1)
    cloud.settle()
    assert cloud.row("far").host_id != lies_on
    assert has_it(cloud, "far")


def test_without_room_on_the_host_of_the_vm_it_stays_and_that_is_told(cloud):
    host_of(cloud).unmount("local")
    cloud.sweep()
    with pytest.raises(Invalid, match=r"^vmId: 'hello' .*10 GiB free in pool 'local'; on this one's 0 are"):
        attach(cloud)
    assert (cloud.disk().vm_id, len(room(cloud))) == ("", 1)


def test_from_a_host_that_does_not_answer_nothing_is_promised(cloud):
    host_of(cloud, "other").unreachable = True
    cloud.pass_time(60)
    with pytest.raises(
        Refused, match="lies on another host than VM 'hello': its host has not answered since"
    ):
        attach(cloud)
    with pytest.raises(Invalid, match="disk 'data' lies on another host, which does not answer"):
        cloud.create(vm_id="new", storage_disk_ids=["data"])


def test_while_its_host_is_silent_the_vm_goes_on_without_it_and_it_can_be_detached(cloud):
    silent = host_of(cloud, "other")
    attach(cloud)
    silent.unreachable = True
    cloud.pass_time(40)
    assert (cloud.vm().state, cloud.disk().waiting_for) == (
        VmState.ACTIVE,
        "disk data lies on a host that does not answer",
    )
    detach(cloud)
    cloud.run()
    assert (cloud.disk().vm_id, len(room(cloud)), cloud.vm().waiting_for) == ("", 1, "")
    silent.unreachable = False
    cloud.pass_time(120)
    attach(cloud)
    cloud.settle()
    assert has_it(cloud)


def test_detached_on_its_way_it_is_where_it_was_and_what_came_over_is_never_taken_for_it(cloud, monkeypatch):
    before, id = host_of(cloud, "other"), cloud.disk_row().id
    attach(cloud)
    with monkeypatch.context() as patch:
        patch.setattr(arrivals, "note_arrival", die)
        with pytest.raises(Crash):
            cloud.run()
    assert len(there(cloud)) == 2, "all of it is there, and its row does not say so"
    detach(cloud)
    cloud.pass_time(LONG_ENOUGH)
    assert there(cloud) == {cloud.disk_row().host_id: "hard work"}
    attach(cloud)
    with monkeypatch.context() as patch:
        patch.setattr(arrivals, "note_arrival", die)
        with pytest.raises(Crash):
            cloud.run()
    detach(cloud)
    attach(cloud, "other")
    cloud.settle()
    before.write_disk(id, "harder work")
    detach(cloud)
    cloud.settle()
    attach(cloud)
    cloud.pass_time(LONG_ENOUGH)
    assert there(cloud) == {cloud.row().host_id: "harder work"}


def die(*_, **__):
    raise Crash


def test_a_vm_that_is_deleted_meanwhile_leaves_it_where_it_was(cloud, monkeypatch):
    before = cloud.disk_row().host_id
    with monkeypatch.context() as patch:
        slow(cloud, patch)
        attach(cloud)
        cloud.run()
        cloud.ask(operations.terminate_vm)
        cloud.settle()
    assert (there(cloud), room(cloud)) == ({before: "hard work"}, {before: 10})
    assert cloud.disk().vm_id == ""


def test_a_vm_whose_disk_is_on_its_way_is_not_moved(cloud, monkeypatch):
    slow(cloud, monkeypatch)
    attach(cloud)
    cloud.run()
    with pytest.raises(Refused, match="its disk 'data' is still being brought to it"):
        cloud.call(move_operations.move_vm, data=MoveVm(project_id=PROJECT, vm_id="hello"))


def test_a_host_is_not_removed_while_a_disk_is_on_its_way_from_it(cloud, monkeypatch):
    slow(cloud, monkeypatch)
    lies_on = names(cloud)[cloud.disk_row().host_id]
    attach(cloud)
    cloud.ask(operations.terminate_vm, "other")
    cloud.pass_time(10)
    with pytest.raises(Refused, match="1 disk"):
        cloud.call(fleet.remove_host, id=lies_on)


def test_a_disk_that_is_missing_where_it_lay_is_told_of_and_can_be_detached(cloud):
    del host_of(cloud, "other").contents.disks[cloud.disk_row().id]
    attach(cloud)
    cloud.pass_time(5)
    assert cloud.disk().problem == "disk 'data' is missing from its host: restore it, or detach it"
    assert cloud.vm().state is VmState.ACTIVE
    detach(cloud)
    assert cloud.disk().vm_id == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # who dies closes no line
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("dies", [True, False], ids=["dies", "fails"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("which", ["source", "target", "commit"])
def test_wherever_its_way_is_hit_the_disk_is_in_one_place_with_all_that_it_held(cloud, which, after, dies):
    """To one VM and to the other in turn, hit at a later call each time, as many as a way takes that nothing hits."""
    cloud.database = FaultyDatabase(cloud.database.url)
    cloud.reconciler = cloud.new_reconciler()
    takes, gives = "hello", "other"

    ends = {"source": host_of(cloud, gives), "target": host_of(cloud, takes)}
    calls = calls_of(lambda: attach(cloud), cloud, which, **ends)
    assert has_it(cloud, takes)
    for call in range(1, calls + 1):
        detach(cloud)
        cloud.settle()
        takes, gives = gives, takes
        ends = {"source": host_of(cloud, gives), "target": host_of(cloud, takes)}
        arm(cloud, which, call, after=after, dies=dies, **ends)
        insist(lambda vm_id=takes: attach(cloud, vm_id))
        survive(cloud, LONG_ENOUGH)
        assert (call, has_it(cloud, takes)) == (call, True)
        assert {cloud.vm(vm_id).state for vm_id in (takes, gives)} == {VmState.ACTIVE}
        assert cloud.row(takes).crashes == 0
    cloud.database.close()
    gc.collect()  # what those who died had open, here and not in a later test
