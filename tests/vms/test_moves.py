"""VMs that go to another host: with all that they hold, once, and nowhere twice."""

import pytest
from tests.crash.faults import FaultyDatabase, insist
from tests.made_up import PROJECT, make_cloud
from tests.vms.moving import (
    LONG_ENOUGH,
    Witness,
    abort,
    arm,
    calls_of_a_move,
    host_of,
    move,
    names,
    nothing_left,
    other_of,
    reserved,
    stopped,
    survive,
)

from cumulet.disks import snapshot_operations as snapshots
from cumulet.disks.wire import CreateDiskSnapshot
from cumulet.errors import Invalid
from cumulet.hosts.orphans import GRACE
from cumulet.hypervisor import HypervisorError, OlderTerm
from cumulet.vm_record.wire import VmState
from cumulet.vms import move_operations, operations
from cumulet.vms.wire import MoveVm


@pytest.fixture
def cloud(database, tmp_path):
    return make_cloud(database, tmp_path, hypervisor="memory:?hosts=2")


def test_a_stopped_vm_goes_to_another_host_with_all_that_it_holds(cloud):
    cloud.running()
    cloud.attached()
    cloud.ask(operations.stop_vm)
    cloud.settle()
    before, term = host_of(cloud), cloud.row().term
    cloud.call(
        snapshots.create_disk_snapshot,
        project_id=PROJECT,
        id="data",
        data=CreateDiskSnapshot(snapshot_id="one", vm_id="hello"),
    )
    cloud.settle()
    before.write_disk(cloud.row().boot_disk_id, "hard work")
    before.write_disk(cloud.disk_row().id, "harder work")
    room, console = reserved(cloud), before.contents.consoles[cloud.row().id]
    move(cloud)
    assert cloud.vm().state is VmState.MIGRATING
    assert cloud.vm().short_state == "stop"
    (shown,) = cloud.call(move_operations.list_moves).moves
    assert (shown.id, {shown.from_host_id, shown.to_host_id}) == (
        f"{PROJECT}:hello",
        {*names(cloud).values()},
    )
    cloud.settle()
    row, now = cloud.row(), host_of(cloud)
    assert (cloud.vm().state, now is before, row.moving_to, row.term) == (
        VmState.STOPPED,
        False,
        None,
        term + 1,
    )
    assert now.read_disk(row.boot_disk_id) == "hard work"
    assert now.read_disk(cloud.disk_row().id) == "harder work"
    assert len(now.disks.snapshots(cloud.disk_row().id)) == 1
    assert now.contents.consoles[row.id] == console
    assert nothing_left(before)
    assert [*reserved(cloud).values()] == [*room.values()]
    assert reserved(cloud).keys() == {row.host_id} != room.keys()
    assert cloud.events()[-2:] == ["vm.move_requested", "vm.moved"]
    told = [entry.text for entry in cloud.ask(operations.get_vm_timeline).entries]
    assert not [text for text in told for name in names(cloud).values() if name in text], (
        "hosts are operators' to know"
    )
    assert cloud.call(move_operations.list_moves).moves == []
    cloud.ask(operations.start_vm)
    cloud.settle()
    assert (cloud.vm().state, cloud.row().crashes) == (VmState.ACTIVE, 0)


def test_one_that_runs_is_shut_down_for_it_and_started_there_when_its_operator_says_so(cloud):
    cloud.running()
    before = host_of(cloud)
    move(cloud, restart=True)
    cloud.settle()
    assert (cloud.vm().state, host_of(cloud) is before, cloud.row().crashes) == (VmState.ACTIVE, False, 0)
    assert nothing_left(before)


def test_it_goes_where_its_operator_says(cloud):
    stopped(cloud)
    here = names(cloud)[cloud.row().host_id]
    (there,) = set(names(cloud).values()) - {here}
    with pytest.raises(Invalid, match=f"hostId: there is no host 'elsewhere'.*{there}"):
        move(cloud, to="elsewhere")
    with pytest.raises(Invalid, match=r"the VM is there already\); it stays where it is"):
        move(cloud, to=here)
    cloud.call(move_operations.move_vm, data=MoveVm(project_id=PROJECT, vm_id="hello", host_id=there))
    cloud.settle()
    assert names(cloud)[cloud.row().host_id] == there


def test_without_room_elsewhere_it_stays_where_it_is(cloud):
    stopped(cloud)
    other_of(cloud).unmount("local")
    cloud.sweep()
    with pytest.raises(Invalid, match="GiB disk free"):
        move(cloud)
    assert (cloud.vm().state, cloud.row().term, len(reserved(cloud))) == (VmState.STOPPED, 0, 1)


def test_room_is_kept_on_both_hosts_until_it_is_over(cloud):
    stopped(cloud)
    (room,) = reserved(cloud).values()
    move(cloud)
    assert [*reserved(cloud).values()] == [room, room]
    abort(cloud)
    assert [*reserved(cloud).values()] == [room]


def test_a_move_is_aborted_and_what_went_over_is_not_taken_for_its_disk_later(cloud):
    stopped(cloud)
    disk_id, there = cloud.row().boot_disk_id, other_of(cloud)
    host_of(cloud).write_disk(disk_id, "old")
    move(cloud)
    there.crash_on_call(there_calls_until_seed(there), HypervisorError("stumbled"), after=False)
    cloud.run()
    assert there.read_disk(disk_id) == "old"
    cloud.call(move_operations.abort_vm_move, id=f"{PROJECT}:hello")
    cloud.settle()
    assert (cloud.vm().state, cloud.row().moving_to) == (VmState.STOPPED, None)
    host_of(cloud).write_disk(disk_id, "new")
    move(cloud)
    cloud.settle()
    assert (host_of(cloud) is there, there.read_disk(disk_id)) == (True, "new")


def there_calls_until_seed(there):
    """The other host copies the image, says what it shares, clears what was there of machine and disk, receives, and gets the seed."""
    return 6


def test_what_an_aborted_move_left_is_removed_after_a_grace(cloud):
    stopped(cloud)
    there = other_of(cloud)
    move(cloud)
    there.crash_on_call(there_calls_until_seed(there), HypervisorError("stumbled"), after=False)
    cloud.run()
    abort(cloud)
    cloud.sweep()
    assert there.contents.disks
    cloud.clock.advance(GRACE.total_seconds() + 1)
    cloud.sweep()
    assert (there.contents.disks, len(host_of(cloud).contents.disks)) == ({}, 1)


def test_nobody_starts_it_where_it_was_who_has_slept_through_the_move(cloud):
    stopped(cloud)
    before, term = host_of(cloud), cloud.row().term
    move(cloud)
    cloud.run()
    for host in cloud.hosts.values():
        with pytest.raises((OlderTerm, HypervisorError)):
            host.machines.start(cloud.row().id, term=term)
    assert before.machines.terms()[cloud.row().id] == term + 1


def test_while_the_other_host_does_not_answer_it_waits_and_says_so(cloud):
    stopped(cloud)
    move(cloud)
    other_of(cloud).unreachable = True
    cloud.pass_time(10)
    assert (cloud.vm().state, cloud.vm().problem) == (VmState.MIGRATING, "the host does not answer")
    abort(cloud)
    cloud.run()
    assert cloud.vm().state is VmState.STOPPED


def test_terminating_it_on_its_way_leaves_nothing_on_either_host(cloud):
    stopped(cloud)
    there, id = other_of(cloud), cloud.row().id
    move(cloud)
    there.crash_on_call(there_calls_until_seed(there), HypervisorError("stumbled"), after=False)
    cloud.run()
    cloud.ask(operations.terminate_vm)
    cloud.settle()
    for _ in range(3):
        cloud.sweep()
        cloud.clock.advance(GRACE.total_seconds() + 1)
    assert all(nothing_left(host) for host in cloud.hosts.values())
    assert reserved(cloud) == {}
    assert all(id not in host.machines.terms() for host in cloud.hosts.values())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # who dies closes no line
@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("dies", [True, False], ids=["dies", "fails"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("which", ["source", "target", "commit"])
def test_wherever_a_move_is_hit_the_vm_runs_once_and_all_of_it_is_in_one_place(
    cloud, monkeypatch, which, after, dies
):
    """There and back again, hit at a later call each time, as many as a move takes that nothing hits."""
    cloud.database = FaultyDatabase(cloud.database.url)
    cloud.reconciler = cloud.new_reconciler()
    cloud.running()
    witness = Witness(cloud, monkeypatch)
    host_of(cloud).write_disk(cloud.row().boot_disk_id, "hard work")
    for call in range(1, calls_of_a_move(cloud, which, restart=True) + 1):
        source, target = host_of(cloud), other_of(cloud)
        arm(cloud, which, call, after=after, dies=dies, source=source, target=target)
        insist(lambda: move(cloud, restart=True))
        survive(cloud, LONG_ENOUGH)
        assert (call, cloud.vm().state, host_of(cloud)) == (call, VmState.ACTIVE, target)
        assert target.read_disk(cloud.row().boot_disk_id) == "hard work"
        assert (call, nothing_left(source), len(reserved(cloud))) == (call, True, 1)
        assert witness.most == 1
    cloud.database.close()
