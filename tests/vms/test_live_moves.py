"""VMs that go to another host while they run: once, whole, and nowhere twice, whatever dies on the way."""

import gc
from threading import Event, Thread

import pytest
from tests.crash.faults import FaultyDatabase, insist
from tests.made_up import PROJECT, make_cloud
from tests.vms.moving import (
    LONG_ENOUGH,
    Witness,
    abort,
    arm,
    calls_of_a_move,
    have_another_go_on,
    host_of,
    move,
    names,
    nothing_left,
    other_of,
    reserved,
    survive,
)

from cumulet.disks import snapshot_operations as snapshots
from cumulet.disks.wire import CreateDiskSnapshot
from cumulet.errors import Invalid, Refused
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import LoseHost
from cumulet.hosts.orphans import GRACE
from cumulet.hypervisor import Expected, HostUnreachable, HypervisorError, OffReason, Power
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations


@pytest.fixture
def cloud(database, tmp_path):
    return make_cloud(database, tmp_path, hypervisor="memory:?hosts=2")


def on(host, cloud):
    return host.contents.machines.get(cloud.row().id)


def test_a_vm_that_runs_goes_on_on_another_host_with_its_memory_and_its_disks(cloud):
    cloud.running()
    cloud.attached()
    before, there, row = host_of(cloud), other_of(cloud), cloud.row()
    before.write_disk(row.boot_disk_id, "hard work")
    before.write_disk(cloud.disk_row().id, "harder work")
    machine, console, room = on(before, cloud), before.contents.consoles[row.id], reserved(cloud)
    counted = machine.looks, machine.keys
    move(cloud)
    assert (cloud.vm().state, cloud.vm().short_state) == (VmState.MIGRATING, "stop")
    cloud.settle()
    after = cloud.row()
    assert (host_of(cloud), cloud.vm().state, after.moving_to, after.move) == (
        there,
        VmState.ACTIVE,
        None,
        None,
    )
    assert (after.started, after.started_at, after.crashes) == (row.started, row.started_at, 0)
    assert (on(there, cloud).looks, on(there, cloud).keys) == counted, "its memory went along"
    assert there.read_disk(row.boot_disk_id) == "hard work"
    assert there.read_disk(cloud.disk_row().id) == "harder work"
    assert there.contents.consoles[row.id] == console
    assert nothing_left(before)
    assert [*reserved(cloud).values()] == [*room.values()]
    assert reserved(cloud).keys() == {after.host_id}


def test_how_long_it_stood_still_is_told_in_its_timeline(cloud):
    cloud.running()
    move(cloud)
    cloud.settle()
    (told,) = [entry.text for entry in cloud.ask(operations.get_vm_timeline).entries if "moved" in entry.text]
    assert told.startswith("moved to another host while it ran; it stood still for 0.2")


def test_its_nics_are_at_both_hosts_while_it_moves_and_anywhere_after(cloud):
    cloud.running()
    here, there = names(cloud)[cloud.row().host_id], (set(names(cloud).values()))
    source = host_of(cloud)
    seen = []
    source.on_leave = lambda: seen.extend(port.hosts for port in cloud.fabric.ports().values())
    move(cloud)
    cloud.settle()
    assert [set(hosts) for hosts in seen] == [there]
    assert seen[0][0] == here
    assert [port.hosts for port in cloud.fabric.ports().values()] == [()]


def test_one_whose_disk_has_snapshots_is_not_moved_while_it_runs_but_by_a_restart(cloud):
    cloud.running()
    cloud.ask(operations.stop_vm)
    cloud.settle()
    cloud.call(
        snapshots.create_disk_snapshot,
        project_id=PROJECT,
        id=cloud.vm().boot_disk.id,
        data=CreateDiskSnapshot(snapshot_id="one", vm_id="hello"),
    )
    cloud.settle()
    cloud.ask(operations.start_vm)
    cloud.settle()
    with pytest.raises(Refused, match="has snapshots; with restart it is shut down"):
        move(cloud)
    before = host_of(cloud)
    move(cloud, restart=True)
    cloud.settle()
    assert host_of(cloud) is not before


def test_to_a_host_with_other_processors_only_by_a_restart(cloud):
    cloud.running()
    other_of(cloud).change_processors("other")
    cloud.sweep()
    with pytest.raises(Invalid, match="other processors than where the VM runs, which takes restart"):
        move(cloud)
    before = host_of(cloud)
    move(cloud, restart=True)
    cloud.settle()
    assert host_of(cloud) is not before


def test_one_that_cannot_leave_runs_on_says_why_and_is_tried_again(cloud):
    cloud.running()
    source = host_of(cloud)

    def break_once():
        source.on_leave = lambda: None
        raise HypervisorError("the line broke")

    source.on_leave = break_once
    move(cloud)
    cloud.run()
    assert on(source, cloud).power is Power.RUNNING
    cloud.pass_time(10)
    assert (host_of(cloud) is source, cloud.vm().state) == (False, VmState.ACTIVE)


def test_it_is_called_back_and_runs_on_where_it_is(cloud):
    cloud.running()
    source, there, row = host_of(cloud), other_of(cloud), cloud.row()

    def refuse():
        raise HypervisorError("stumbled")

    source.on_leave = refuse
    move(cloud)
    cloud.pass_time(3)
    abort(cloud)
    with pytest.raises(Refused, match="called back already"):
        abort(cloud)
    cloud.settle()
    after = cloud.row()
    assert (host_of(cloud), cloud.vm().state, after.started) == (source, VmState.ACTIVE, row.started)
    assert (after.moving_to, after.move, after.term, len(reserved(cloud))) == (None, None, row.term + 2, 1)
    assert not there.contents.disks
    assert [port.hosts for port in cloud.fabric.ports().values()] == [()]
    assert source.machines.terms()[row.id] == there.machines.terms()[row.id] == row.term + 2


def test_called_back_from_a_host_that_is_lost_it_runs_on_where_it_is(cloud):
    cloud.running()
    source, there, row = host_of(cloud), other_of(cloud), cloud.row()

    def fall_silent():
        there.unreachable = True
        raise HypervisorError("the line broke")

    source.on_leave = fall_silent
    move(cloud)
    cloud.pass_time(20)
    abort(cloud)
    cloud.sweep()
    cloud.pass_time(20)
    cloud.sweep()
    assert (cloud.vm().state, on(source, cloud).power) == (VmState.MIGRATING, Power.RUNNING)
    (name,) = {name for id, name in names(cloud).items() if cloud.hosts[id] is there}
    cloud.call(hosts.lose_host, id=name, data=LoseHost(confirm=name))
    cloud.pass_time(120)
    assert (cloud.vm().state, cloud.row().started, cloud.row().move) == (VmState.ACTIVE, row.started, None)
    there.unreachable = False
    cloud.pass_time(GRACE.total_seconds() + 120)
    assert (nothing_left(there), host_of(cloud), cloud.vm().state) == (True, source, VmState.ACTIVE)


def test_called_back_once_it_has_left_it_is_there(cloud, monkeypatch):
    cloud.running()
    there = other_of(cloud)
    go_on = there.moves.go_on

    def go_on_once_it_is_called_back(*args, **kwargs):
        monkeypatch.setattr(there.moves, "go_on", go_on)
        abort(cloud)
        return go_on(*args, **kwargs)

    monkeypatch.setattr(there.moves, "go_on", go_on_once_it_is_called_back)
    move(cloud)
    cloud.pass_time(60)
    assert (host_of(cloud), cloud.vm().state) == (there, VmState.ACTIVE)
    assert cloud.row().crashes == 0


def test_while_the_other_host_falls_silent_at_the_end_it_is_started_nowhere_and_goes_on_when_that_is_back(
    cloud, monkeypatch
):
    cloud.running()
    witness = Witness(cloud, monkeypatch)
    source, there, started = host_of(cloud), other_of(cloud), cloud.row().started
    go_on = there.moves.go_on

    def silent(*_args, **_kwargs):
        there.unreachable = True
        raise HostUnreachable("gone")

    monkeypatch.setattr(there.moves, "go_on", silent)
    move(cloud)
    cloud.pass_time(10)
    assert (on(source, cloud).power, on(source, cloud).off_reason) == (Power.OFF, OffReason.MOVED)
    assert on(there, cloud).power is Power.ARRIVED
    monkeypatch.setattr(there.moves, "go_on", go_on)
    there.unreachable = False
    cloud.pass_time(60)
    assert (host_of(cloud), cloud.vm().state, cloud.row().started) == (there, VmState.ACTIVE, started)
    assert witness.most == 1


def test_what_a_server_of_before_still_has_on_its_way_does_not_leave_once_the_next_has_looked(
    cloud, monkeypatch
):
    cloud.running()
    source, there, departs = host_of(cloud), other_of(cloud), Event()
    looks = on(source, cloud).looks = 4711
    leave, get = source.moves.leave, there.machines.get

    def leave_late(*args, **kwargs):
        monkeypatch.setattr(source.moves, "leave", leave)
        departs.wait()
        return leave(*args, **kwargs)

    monkeypatch.setattr(source.moves, "leave", leave_late)
    move(cloud)
    cloud.run()
    journey = cloud.backends.journeys.look(cloud.row().id)

    def get_before_departure(vm_id):
        seen = get(vm_id)
        departs.set()
        journey.still.exception()
        return seen

    monkeypatch.setattr(there.machines, "get", get_before_departure)
    have_another_go_on(cloud)
    cloud.pass_time(60)
    assert (host_of(cloud), cloud.vm().state) == (there, VmState.ACTIVE)
    assert on(there, cloud).looks == looks, "its memory went along"


def test_one_that_was_about_to_go_on_when_its_host_stumbled_does_so(cloud, monkeypatch):
    cloud.running()
    there = other_of(cloud)
    go_on = there.moves.go_on

    def stumble(*_args, **_kwargs):
        monkeypatch.setattr(there.moves, "go_on", go_on)
        on(there, cloud).power = Power.PAUSED
        raise HypervisorError("stumbled")

    monkeypatch.setattr(there.moves, "go_on", stumble)
    move(cloud)
    cloud.pass_time(20)
    assert (host_of(cloud), cloud.vm().state, on(there, cloud).power) == (
        there,
        VmState.ACTIVE,
        Power.RUNNING,
    )


def test_one_whose_guest_shuts_down_on_the_way_goes_on_its_way_and_stays_off(cloud):
    cloud.running()
    source = host_of(cloud)

    def shut_down():
        source.go_off(cloud.row().id, OffReason.GUEST_SHUTDOWN)
        raise HypervisorError("it is off")

    source.on_leave = shut_down
    move(cloud)
    cloud.pass_time(10)
    assert (host_of(cloud) is source, cloud.vm().state) == (False, VmState.STOPPED)


def test_one_whose_gate_is_held_by_a_server_that_asks_the_host_something_is_not_stuck(cloud):
    cloud.running()
    vm_id, source = cloud.row().id, host_of(cloud)
    source.moves.prepare(vm_id)
    gate = source.moves.open_gate(vm_id)

    def ask():
        with gate:
            gate.recv(1)
            source.facts()

    Thread(target=ask).start()
    with pytest.raises(HypervisorError, match="line broke"):
        source.moves.leave(vm_id, Expected("running", "defined", ()), lambda _over: None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # who dies closes no line
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("dies", [True, False], ids=["dies", "fails"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("which", ["source", "target", "commit"])
def test_wherever_a_live_move_is_hit_the_vm_runs_once_and_is_not_started_anew(
    cloud, monkeypatch, which, after, dies
):
    """There and back again, hit at a later call each time, as many as a move takes that nothing hits."""
    cloud.database = FaultyDatabase(cloud.database.url)
    cloud.reconciler = cloud.new_reconciler()
    cloud.running()
    witness = Witness(cloud, monkeypatch)
    host_of(cloud).write_disk(cloud.row().boot_disk_id, "hard work")
    started = cloud.row().started
    for call in range(1, calls_of_a_move(cloud, which, restart=False) + 1):
        source, target = host_of(cloud), other_of(cloud)
        arm(cloud, which, call, after=after, dies=dies, source=source, target=target)
        insist(lambda: move(cloud))
        survive(cloud, LONG_ENOUGH)
        assert (call, cloud.vm().state, host_of(cloud)) == (call, VmState.ACTIVE, target)
        assert target.read_disk(cloud.row().boot_disk_id) == "hard work"
        assert (call, nothing_left(source), len(reserved(cloud))) == (call, True, 1)
        assert (call, cloud.row().started, cloud.row().crashes) == (call, started, 0)
        assert witness.most == 1
    cloud.database.close()
    gc.collect()  # what those who died had open, here and not in a later test
