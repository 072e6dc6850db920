"""A VM's whole life on a made-up host, from the request to the last trace of it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.words import HOST_SILENT

from cumulet import journal
from cumulet.errors import NotFound
from cumulet.hosts import Reservation
from cumulet.hypervisor import HypervisorError, ImageCopy, OffReason, Power
from cumulet.networks import ExternalAddress, Nic
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs
from cumulet.vms.reconcile.power import STOP_GRACE
from cumulet.vms.reconcile.vm import FAILED_AFTER


def machine(cloud, id="hello"):
    return cloud.host.machines.get(cloud.row(id).id)


def nothing_is_left(cloud):
    """No trace of a VM on the host, the fabric or in the rows; the network and its router stay."""
    rows = [cloud.count(table) for table in (Vm, Nic, Reservation, ExternalAddress)]
    there = (
        cloud.host.machines.list(),
        cloud.host.disks.list(),
        cloud.host.seeds.list(),
        cloud.fabric.ports(),
    )
    return rows == [0, 0, 0, 1] and not any(there)


# Create
def test_a_vm_that_was_asked_for_comes_to_run(cloud):
    assert cloud.create(start_script="exit 3").state is VmState.PENDING
    cloud.settle()
    cloud.pass_time(5)
    vm = cloud.vm()
    assert vm.state is VmState.ACTIVE
    assert (vm.guest.agent_answers, vm.guest.first_boot_done, vm.guest.start_script_status) == (True, True, 3)
    assert cloud.events() == ["vm.create_requested", "vm.started", "vm.agent_connected", "vm.first_boot_done"]


def test_its_timeline_begins_with_what_was_asked_for(cloud):
    cloud.create(vcpus=1, memory_gib=1, boot_disk_size_gib=7)
    assert (
        cloud.ask(verbs.get_vm_timeline).entries[0].text.startswith("1 vCPU, 1 GiB memory, 7 GiB disk from ")
    )


def test_the_machine_is_what_was_asked_for(cloud):
    cloud.running(vcpus=3, memory_gib=5, boot_disk_size_gib=7)
    row, host = cloud.row(), cloud.host.contents
    spec, seed = host.machines[row.id].spec, host.seeds[row.id]
    assert (spec.name, spec.project, spec.vcpus, spec.memory_mib) == ("hello", "default", 3, 5 * 1024)
    assert cloud.host.disks.list() == {row.boot_disk_id: 7}
    assert (seed.hostname, seed.instance_id) == ("hello", str(row.id))
    (nic,) = spec.nics
    assert cloud.fabric.ports()[nic.port_id].mac == nic.mac


def test_its_addresses_are_those_of_its_port(cloud):
    vm = cloud.running()
    (port,) = cloud.fabric.ports().values()
    assert (vm.internal_ip_address, vm.external_ip_address) == (str(port.address), str(port.external_address))
    assert vm.public_ip_address == vm.external_ip_address


def test_a_settled_vm_costs_nothing_any_more(cloud):
    cloud.running()
    assert cloud.due("vm", cloud.row().id) is None


def test_the_copy_of_its_image_shows_its_progress(cloud):
    cloud.host.copy_step = 0.25
    cloud.create()
    cloud.pass_time(0.6)
    assert cloud.vm().waiting_for == "copying image micro to the host, 50%"
    cloud.settle()
    assert (cloud.vm().state, cloud.vm().waiting_for) == (VmState.ACTIVE, "")


def test_a_copy_that_fails_is_a_failure_and_backs_off(cloud, monkeypatch):
    broken = ImageCopy(ready=False, fraction=0.1, error="cannot copy the image: no space left on device")
    monkeypatch.setattr(cloud.host.images, "copy", lambda *_: broken)
    cloud.create()
    cloud.pass_time(20)
    assert cloud.vm().problem.startswith("image micro cannot be copied to the host")
    assert cloud.due("vm", cloud.row().id).attempts == 5


def test_validate_only_prices_the_vm_and_writes_nothing(cloud):
    answer = cloud.create(validate_only=True)
    assert float(answer.price.total_price_hr.value) > 0
    assert answer.internal_ip_address
    cloud.run()
    assert not any(cloud.count(table) for table in (Vm, Nic, Reservation, ExternalAddress))
    assert not cloud.host.machines.list()


# Stop, start and reboot
def test_an_obedient_guest_stops_when_it_is_asked(cloud):
    cloud.running()
    cloud.ask(verbs.stop_vm)
    assert cloud.vm().state is VmState.STOPPING
    cloud.settle()
    assert cloud.vm().state is VmState.STOPPED
    assert machine(cloud).off_reason is OffReason.GUEST_SHUTDOWN
    assert cloud.events()[-3:] == ["vm.stop_requested", "vm.shutdown_sent", "vm.stopped"]


def test_the_plug_of_a_deaf_guest_is_pulled_after_its_time_and_that_is_told(cloud):
    cloud.running()
    cloud.host.deaf = True
    cloud.ask(verbs.stop_vm)
    cloud.pass_time(STOP_GRACE.total_seconds() - 1)
    assert machine(cloud).power is Power.RUNNING
    assert (cloud.vm().state, cloud.vm().waiting_for) == (VmState.STOPPING, "the guest is shutting down")
    cloud.settle()
    assert machine(cloud).off_reason is OffReason.DESTROYED
    assert cloud.vm().state is VmState.STOPPED
    assert cloud.events()[-4:] == ["vm.stop_requested", "vm.shutdown_sent", "vm.forced_off", "vm.stopped"]


def test_a_guest_that_could_not_hear_yet_is_asked_again(cloud):
    cloud.running()
    cloud.host.deaf = True
    cloud.ask(verbs.stop_vm)
    cloud.pass_time(12)
    cloud.host.deaf = False
    cloud.settle()
    assert machine(cloud).off_reason is OffReason.GUEST_SHUTDOWN
    assert cloud.events().count("vm.shutdown_sent") == 1


def test_a_stopped_vm_starts_again_with_its_disk_and_addresses(cloud):
    before = cloud.running()
    disks = cloud.host.disks.list()
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    cloud.ask(verbs.start_vm)
    assert cloud.vm().state is VmState.STARTING
    cloud.settle()
    cloud.pass_time(5)
    after = cloud.vm()
    assert (after.state, after.internal_ip_address) == (VmState.ACTIVE, before.internal_ip_address)
    assert cloud.host.disks.list() == disks
    assert cloud.events()[-3:] == ["vm.start_requested", "vm.started", "vm.agent_connected"]


def test_a_reboot_is_off_and_on_once(cloud):
    cloud.running()
    before = machine(cloud).started
    cloud.ask(verbs.reboot_vm)
    cloud.settle()
    cloud.pass_time(60)
    assert machine(cloud).started == before + 1
    assert cloud.vm().state is VmState.ACTIVE
    assert cloud.events()[-4:] == [
        "vm.reboot_requested",
        "vm.shutdown_sent",
        "vm.started",
        "vm.agent_connected",
    ]


def test_a_reboot_of_a_deaf_guest_pulls_its_plug(cloud):
    cloud.running()
    before = machine(cloud).started
    cloud.host.deaf = True
    cloud.ask(verbs.reboot_vm)
    cloud.settle()
    assert machine(cloud).started == before + 1
    assert cloud.events().count("vm.forced_off") == 1


def test_a_stop_during_a_reboot_ends_off(cloud):
    cloud.running()
    cloud.host.deaf = True
    cloud.ask(verbs.reboot_vm)
    cloud.run()
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    assert (cloud.vm().state, machine(cloud).power) == (VmState.STOPPED, Power.OFF)
    assert not cloud.row().reboot_pending
    started = cloud.events().count("vm.started")
    cloud.ask(verbs.start_vm)
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE
    assert cloud.events().count("vm.started") == started + 1


# What guests and hosts do by themselves
def test_a_guest_that_powers_itself_off_stays_off(cloud):
    cloud.running()
    cloud.host.guest_powers_off(cloud.row().id)
    cloud.sweep()
    cloud.pass_time(120)
    assert (cloud.vm().state, machine(cloud).power) == (VmState.STOPPED, Power.OFF)
    assert cloud.events()[-1] == "vm.stopped"


def test_a_guest_that_its_host_shut_down_with_itself_runs_again_once_that_is_back(cloud):
    cloud.running()
    cloud.host.go_down()
    cloud.sweep()
    cloud.pass_time(30)
    vm = cloud.vm()
    assert (vm.state, vm.waiting_for, machine(cloud).power) == (
        VmState.ACTIVE, "its host is being shut down", Power.OFF,
    )  # fmt: skip
    cloud.host.boot()
    cloud.sweep()
    cloud.pass_time(5)
    assert (cloud.vm().state, machine(cloud).power) == (VmState.ACTIVE, Power.RUNNING)
    assert "vm.stopped" not in cloud.events()


def test_a_machine_that_crashed_runs_again(cloud):
    cloud.running()
    cloud.host.kill(cloud.row().id)
    cloud.sweep()
    cloud.pass_time(5)
    assert cloud.vm().state is VmState.ACTIVE
    assert cloud.events()[-3:] == ["vm.crashed", "vm.started", "vm.agent_connected"]


def pauses_of_a_machine_that_ends_at_once(cloud, times):
    """Seconds between its starts."""
    pauses = []
    for _ in range(times):
        began = cloud.clock()
        cloud.host.kill(cloud.row().id)
        cloud.sweep()
        cloud.settle()
        pauses.append((cloud.clock() - began).total_seconds() // 1)
    return pauses


def test_a_machine_that_crashes_again_and_again_pauses_longer_each_time(cloud):
    cloud.running()
    cloud.clock.advance(3600)
    assert pauses_of_a_machine_that_ends_at_once(cloud, 6) == [0, 2, 4, 8, 16, 32]
    assert cloud.vm().state is VmState.ACTIVE


def test_a_machine_that_ran_well_is_forgiven(cloud):
    cloud.running()
    cloud.clock.advance(3600)
    pauses_of_a_machine_that_ends_at_once(cloud, 4)
    cloud.clock.advance(3600)
    assert pauses_of_a_machine_that_ends_at_once(cloud, 3) == [0, 2, 4]


def test_an_event_of_the_host_is_heard_at_once(cloud):
    cloud.running()
    cloud.host.on_change(cloud.hear)
    cloud.host.kill(cloud.row().id)
    cloud.run()
    assert machine(cloud).power is Power.RUNNING


def test_a_host_that_does_not_answer_is_told_and_gone_on_with_when_it_is_back(cloud):
    cloud.create()
    cloud.host.unreachable = True
    cloud.pass_time(10)
    assert cloud.vm().problem == HOST_SILENT
    cloud.host.unreachable = False
    cloud.settle()
    assert (cloud.vm().state, cloud.vm().problem) == (VmState.ACTIVE, "")


def test_a_vm_that_cannot_come_to_run_is_failed_and_recovers(cloud, monkeypatch):
    def refuse(vm_id, *, term):
        raise HypervisorError(f"the emulator is missing in term {term}")

    with monkeypatch.context() as patch:
        patch.setattr(cloud.host.machines, "start", refuse)
        cloud.create()
        cloud.pass_time(2**FAILED_AFTER)
        assert (cloud.vm().state, cloud.vm().problem) == (VmState.FAILED, HypervisorError.for_owner)
    cloud.settle()
    assert (cloud.vm().state, cloud.vm().problem) == (VmState.ACTIVE, "")


def test_a_vm_that_cannot_come_to_run_can_be_stopped_and_is_failed_until_that_is_done(cloud, monkeypatch):
    def refuse(spec):
        raise HypervisorError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(cloud.host.disks, "create", refuse)
        cloud.create()
        cloud.pass_time(2**FAILED_AFTER)
        cloud.ask(verbs.stop_vm)
        assert cloud.vm().state is VmState.STOPPING
        cloud.pass_time(60)
        assert cloud.vm().state is VmState.FAILED
    cloud.settle()
    assert (cloud.vm().state, cloud.host.machines.get(cloud.row().id).power) == (VmState.STOPPED, Power.OFF)


def test_a_boot_disk_that_is_gone_is_never_replaced_by_an_empty_one(cloud):
    cloud.running()
    row = cloud.row()
    disk = cloud.host.contents.disks.pop(row.boot_disk_id)
    cloud.host.kill(row.id)
    cloud.sweep()
    cloud.pass_time(40)
    assert (cloud.vm().state, cloud.host.disks.list()) == (VmState.FAILED, {})
    assert str(row.boot_disk_id) in cloud.vm().problem
    assert cloud.events().count("vm.disk_lost") == 1
    cloud.host.contents.disks[row.boot_disk_id] = disk
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE


# The end
@pytest.mark.parametrize("limit", [{"ttl": "90s"}, {"expire_time": "in 90 s"}])
def test_a_vm_whose_time_is_over_is_terminated(cloud, limit):
    if "expire_time" in limit:
        limit = {"expire_time": cloud.clock() + timedelta(seconds=90)}
    cloud.running(**limit)
    cloud.pass_time(80)
    assert cloud.vm().state is VmState.ACTIVE
    cloud.pass_time(10)
    assert nothing_is_left(cloud)


def test_a_stopped_vm_s_time_ends_too(cloud):
    cloud.running(ttl="90s")
    cloud.ask(verbs.stop_vm)
    cloud.pass_time(90)
    assert nothing_is_left(cloud)


def bring_to(cloud, state):
    """A VM in that state, however it came there."""
    if state is VmState.PENDING:
        cloud.create()
        return
    if state is VmState.STARTING:
        cloud.host.copy_step = 0.01
        cloud.create()
        cloud.pass_time(1)
        return
    cloud.running()
    if state in {VmState.STOPPING, VmState.STOPPED}:
        cloud.host.deaf = state is VmState.STOPPING
        cloud.ask(verbs.stop_vm)
        cloud.pass_time(10)
    if state is VmState.FAILED:
        cloud.host.contents.disks.clear()
        cloud.host.kill(cloud.row().id)
        cloud.sweep()
        cloud.pass_time(5)
    if state is VmState.UNKNOWN:
        cloud.host.unreachable = True
        cloud.sweep()
        cloud.pass_time(15)
        cloud.host.unreachable = False


STATES = [
    VmState.PENDING,
    VmState.STARTING,
    VmState.ACTIVE,
    VmState.STOPPING,
    VmState.STOPPED,
    VmState.FAILED,
    VmState.UNKNOWN,
]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.value)
def test_a_vm_can_be_terminated_in_every_state_and_leaves_nothing(cloud, state):
    bring_to(cloud, state)
    assert cloud.vm().state is state
    cloud.ask(verbs.terminate_vm)
    assert (cloud.vm().state, cloud.vm().short_state) == (VmState.DELETING, "done")
    cloud.settle()
    assert nothing_is_left(cloud)


def test_what_is_gone_is_told_to_the_end(cloud):
    cloud.running()
    id = cloud.row().id
    cloud.ask(verbs.terminate_vm)
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    with cloud.database.reading() as db:
        told = [fact.event for fact in journal.events_about(db, id)]
    assert told[-2:] == ["vm.terminate_requested", "vm.deleted"]
    with pytest.raises(NotFound):
        cloud.vm()


@pytest.mark.parametrize("part", ["machine", "disk", "seed", "console", "port"])
def test_a_terminate_succeeds_with_any_part_already_missing(cloud, part):
    cloud.running()
    row = cloud.row()
    remove = {
        "machine": lambda: cloud.host.machines.undefine(row.id),
        "disk": lambda: cloud.host.contents.disks.pop(row.boot_disk_id),
        "seed": lambda: cloud.host.seeds.remove(row.id),
        "console": lambda: cloud.host.consoles.remove_log(row.id),
        "port": lambda: [cloud.fabric.remove_port(id) for id in cloud.fabric.ports()],
    }
    remove[part]()
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    assert nothing_is_left(cloud)


def test_its_name_and_its_room_can_be_had_again(cloud):
    cloud.running(vcpus=200, memory_gib=200)
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    assert cloud.running(vcpus=200, memory_gib=200).state is VmState.ACTIVE


def test_a_machine_defined_otherwise_is_defined_anew_when_it_is_off(cloud):
    cloud.running()
    row = cloud.row()
    machine = cloud.host.contents.machines[row.id]
    cloud.host.machines.define(replace(machine.spec, vcpus=1))
    cloud.ask(verbs.reboot_vm)
    cloud.settle()
    assert machine.spec.vcpus == row.vcpus == 2
