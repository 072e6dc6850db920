"""A host that does not answer: what is known of its VMs, what counts as proof that it is dead, and what happens when it is back."""

from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, update
from tests.made_up import PROJECT, make_cloud
from tests.toy_reconcilers import Crash

from cumulet.disks import operations as disk_verbs
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import AskOfHost, DrainHost, LoseHost
from cumulet.hosts import Host, HostState, Reservation
from cumulet.hypervisor import OlderTerm, Power
from cumulet.journal import events_about
from cumulet.reconcile import Due
from cumulet.resource import Wanted
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import PowerFailed, move_operations
from cumulet.vms import operations as verbs
from cumulet.vms.wire import MoveVm

ONE, TWO, THREE = "memory-1", "memory-2", "memory-3"
CALLS_OF_A_LOOK = 12
"""More than a look at a host makes, with two machines to end."""
CALLS_UNTIL_TWINS_END = 4
"""What a host has, which machines, the term of one and its end."""


class PowerCommand:
    """A power command that answers what a test wants."""

    def __init__(self):
        self.asked = []
        self.fails = False

    def __call__(self, name):
        self.asked.append(name)
        if self.fails:
            raise PowerFailed("the management board does not answer")
        return "chassis power is off"


@pytest.fixture
def cloud(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=3")
    with database.writing() as db:
        db.execute(update(Host).values(uri="ssh://root@" + Host.name))
    return cloud


@pytest.fixture
def power(cloud):
    power = PowerCommand()
    cloud.backends = replace(cloud.backends, power_off=power)
    cloud.reconciler = cloud.new_reconciler()
    return power


def row_of(cloud, name):
    with cloud.database.reading() as db:
        return db.scalars(select(Host).where(Host.name == name)).one()


def twin_of(cloud, name):
    return cloud.hosts[row_of(cloud, name).id]


def running_on(cloud, name, **fields):
    """A VM on the host of that name."""
    for other in {ONE, TWO, THREE} - {name}:
        cloud.call(hosts.cordon_host, id=other, data=AskOfHost())
    vm = cloud.running(**fields)
    for other in {ONE, TWO, THREE} - {name}:
        cloud.call(hosts.uncordon_host, id=other)
    return vm


def silence(cloud, *names):
    for name in names:
        twin_of(cloud, name).unreachable = True
    cloud.sweep()
    cloud.pass_time(15)


def lose(cloud, name):
    silence(cloud, name)
    cloud.call(hosts.lose_host, id=name, data=LoseHost(confirm=name))
    cloud.run()


def back(cloud, name):
    twin_of(cloud, name).unreachable = False
    cloud.sweep()


def test_the_vms_of_a_silent_host_are_unknown_and_say_why(cloud):
    running_on(cloud, ONE)
    silence(cloud, ONE)
    shown = cloud.vm()
    assert (shown.state, shown.short_state) == (VmState.UNKNOWN, "runn")
    assert shown.waiting_for.startswith("its host has not answered since 2026-03-01 12:")
    assert shown.waiting_for.endswith("what runs there is not known")


def test_a_silent_host_is_asked_nothing_for_its_vms(cloud):
    running_on(cloud, ONE)
    silence(cloud, ONE)
    asked = twin_of(cloud, ONE).call_count
    cloud.hear(cloud.row().id)
    cloud.run()
    assert twin_of(cloud, ONE).call_count == asked


def test_nobody_waits_for_a_host_that_did_not_answer_when_it_was_asked_last(cloud):
    running_on(cloud, ONE)
    id = row_of(cloud, ONE).id
    cloud.backends = replace(cloud.backends, silent={id: "no route to host"})
    cloud.reconciler = cloud.new_reconciler()
    asked = twin_of(cloud, ONE).call_count
    cloud.sweep()
    cloud.measure()
    assert twin_of(cloud, ONE).call_count == asked
    assert row_of(cloud, ONE).why == "no route to host"


def test_what_ran_on_a_silent_host_runs_on_there_when_it_is_back(cloud):
    running_on(cloud, ONE)
    started = twin_of(cloud, ONE).machines.get(cloud.row().id).started
    silence(cloud, ONE)
    cloud.pass_time(600)
    back(cloud, ONE)
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE
    assert twin_of(cloud, ONE).machines.get(cloud.row().id).started == started


def test_a_vm_that_is_terminated_while_its_host_is_silent_waits_for_it(cloud):
    running_on(cloud, ONE)
    silence(cloud, ONE)
    cloud.ask(verbs.terminate_vm)
    cloud.pass_time(600)
    assert cloud.count(Vm) == 1
    back(cloud, ONE)
    cloud.settle()
    assert cloud.count(Vm) == 0
    assert not twin_of(cloud, ONE).machines.list()


@pytest.mark.parametrize("first", ["terminated", "lost"])
def test_a_vm_on_a_lost_host_ends_and_its_host_is_cleaned_when_it_is_back(cloud, first):
    running_on(cloud, ONE)
    id = cloud.row().id
    silence(cloud, ONE)
    if first == "terminated":
        cloud.ask(verbs.terminate_vm)
        cloud.run()
        lose(cloud, ONE)
    else:
        lose(cloud, ONE)
        assert cloud.vm().waiting_for == "its host is lost: what is on its disks is back if that host is"
        cloud.ask(verbs.terminate_vm)
    cloud.settle()
    assert cloud.count(Vm) == 0
    cloud.create()
    assert cloud.row().host_id != row_of(cloud, ONE).id
    back(cloud, ONE)
    assert id not in twin_of(cloud, ONE).machines.list()
    assert row_of(cloud, ONE).state is HostState.UP
    cloud.pass_time(120)
    assert not twin_of(cloud, ONE).disks.list()


def test_a_disk_on_a_lost_host_is_deleted_and_removed_there_when_that_is_back(cloud):
    running_on(cloud, ONE)
    cloud.attached()
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    lose(cloud, ONE)
    cloud.call(disk_verbs.delete_storage_disk, project_id="default", id="data")
    cloud.settle()
    assert not cloud.call(disk_verbs.list_disks, project_id="default").disks
    back(cloud, ONE)
    cloud.pass_time(120)
    assert not twin_of(cloud, ONE).disks.list()


def move_by_hand(cloud, name, **fields):
    """Have a VM's row on another host, in the next term."""
    with cloud.database.writing() as db:
        db.execute(update(Vm).values(host_id=row_of(cloud, name).id, term=1, **fields))


def test_a_lost_host_is_up_only_once_the_twins_on_it_are_ended(cloud):
    running_on(cloud, ONE)
    id = cloud.row().id
    lose(cloud, ONE)
    move_by_hand(cloud, TWO)
    host = twin_of(cloud, ONE)
    host.unreachable = False
    host.crash_on_call(CALLS_UNTIL_TWINS_END, Crash(), after=False)
    with pytest.raises(Crash):
        cloud.sweep()
    assert (row_of(cloud, ONE).state, host.machines.get(id).power) == (HostState.LOST, Power.RUNNING)
    cloud.pass_time(120)
    assert (row_of(cloud, ONE).state, host.machines.get(id)) == (HostState.UP, None)
    with pytest.raises(OlderTerm):
        host.machines.start(id, term=0)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after it"])
def test_wherever_the_look_at_a_host_that_is_back_dies_no_twin_is_left_on_one_that_is_up(cloud, after):
    for call in range(1, CALLS_OF_A_LOOK + 1):
        running_on(cloud, ONE, vm_id=f"moved-{call}")
        moved = cloud.row(f"moved-{call}").id
        running_on(cloud, ONE, vm_id=f"ended-{call}")
        ended, host = cloud.row(f"ended-{call}").id, twin_of(cloud, ONE)
        lose(cloud, ONE)
        with cloud.database.writing() as db:
            to = row_of(cloud, TWO).id
            db.execute(update(Vm).where(Vm.id == moved).values(host_id=to, term=1, wanted=Wanted.STOPPED))
        cloud.ask(verbs.terminate_vm, f"ended-{call}")
        cloud.run()
        host.unreachable = False
        host.crash_on_call(call, Crash(), after=after)
        with suppress(Crash):
            cloud.sweep()
        assert (
            row_of(cloud, ONE).state is HostState.LOST or not {moved, ended} & host.contents.machines.keys()
        )
        for _ in range(2):
            with suppress(Crash):  # where the look had fewer calls, a later one dies
                cloud.pass_time(120)
        assert row_of(cloud, ONE).state is HostState.UP
        assert not {moved, ended} & host.contents.machines.keys()
        cloud.ask(verbs.terminate_vm, f"moved-{call}")
        cloud.settle()


@pytest.mark.parametrize("died", [ONE, TWO])
def test_a_vm_that_is_being_moved_ends_wholly_when_either_host_is_lost(cloud, died):
    running_on(cloud, ONE)
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    data = MoveVm(project_id=PROJECT, vm_id="hello", host_id=TWO)
    cloud.call(move_operations.move_vm, data=data)
    lose(cloud, died)
    cloud.ask(verbs.terminate_vm)
    cloud.pass_time(120)
    assert (cloud.count(Vm), cloud.count(Reservation)) == (0, 0)
    back(cloud, died)
    cloud.pass_time(180)
    assert row_of(cloud, died).state is HostState.UP
    assert not any(host.contents.machines or host.contents.disks for host in cloud.hosts.values())


def test_a_machine_of_an_earlier_term_is_ended_on_a_host_that_was_never_lost(cloud):
    running_on(cloud, ONE)
    move_by_hand(cloud, TWO)
    cloud.sweep()
    assert twin_of(cloud, ONE).machines.get(cloud.row().id) is None


def test_a_machine_that_is_being_moved_is_on_both_hosts(cloud):
    running_on(cloud, ONE)
    move_by_hand(cloud, TWO, moving_to=row_of(cloud, ONE).id)
    cloud.sweep()
    assert twin_of(cloud, ONE).machines.get(cloud.row().id) is not None


def test_a_host_that_booted_anew_starts_what_ran_there(cloud):
    running_on(cloud, ONE)
    silence(cloud, ONE)
    twin_of(cloud, ONE).boot()
    back(cloud, ONE)
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE
    assert [host.machines.list().keys() for host in cloud.hosts.values()].count({cloud.row().id}) == 1


def test_a_host_that_stays_silent_is_lost_once_its_power_is_seen_to_be_off(cloud, power):
    silence(cloud, ONE)
    cloud.pass_time(50)
    assert (power.asked, row_of(cloud, ONE).state) == ([], HostState.SILENT)
    cloud.pass_time(15)
    assert (power.asked, row_of(cloud, ONE).state) == ([ONE], HostState.LOST)
    assert row_of(cloud, ONE).why == "its power is off: chassis power is off"
    cloud.pass_time(600)
    assert power.asked == [ONE]


def test_a_power_command_that_confirms_nothing_proves_nothing_and_its_words_are_kept(cloud, power):
    power.fails = True
    silence(cloud, ONE)
    cloud.pass_time(70)
    assert row_of(cloud, ONE).state is HostState.SILENT
    with cloud.database.reading() as db:
        words = [event.text for event in events_about(db, row_of(cloud, ONE).id)]
    assert words[-1] == "its power could not be cut: the management board does not answer"
    power.fails = False
    cloud.pass_time(70)
    assert row_of(cloud, ONE).state is HostState.LOST


def test_no_power_is_cut_while_most_hosts_are_silent(cloud, power):
    silence(cloud, ONE, TWO)
    cloud.pass_time(600)
    assert power.asked == []


def test_a_server_that_reaches_few_hosts_itself_cuts_no_power_whatever_others_reach(cloud, power):
    silent = dict.fromkeys((row_of(cloud, ONE).id, row_of(cloud, TWO).id), "no route to host")
    cloud.backends = replace(cloud.backends, silent=silent)
    cloud.reconciler = cloud.new_reconciler()
    silence(cloud, ONE)
    with cloud.database.writing() as db:
        db.execute(update(Host).where(Host.name == TWO).values(state=HostState.UP, unheard_since=None))
        db.execute(delete(Due).where(Due.id == row_of(cloud, TWO).id))  # the other server looks at it
    cloud.pass_time(100)
    assert power.asked == []


def test_the_power_of_the_servers_own_machine_is_never_cut(cloud, power):
    with cloud.database.writing() as db:
        db.execute(update(Host).where(Host.name == ONE).values(uri="qemu:///system"))
    silence(cloud, ONE)
    cloud.pass_time(600)
    assert power.asked == []


def test_the_power_of_a_host_that_is_drained_is_its_operators(cloud, power):
    cloud.call(hosts.drain_host, id=ONE, data=DrainHost(reason="new fans"))
    silence(cloud, ONE)
    cloud.pass_time(600)
    assert power.asked == []
