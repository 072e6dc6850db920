"""A host that cannot write keeps a machine still: its owner is told, and it goes on as soon as that works."""

from itertools import pairwise

import pytest

from cumulet.hypervisor import Power
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs
from cumulet.vms.reconcile.power import RESUME_PAUSE, STOP_GRACE


@pytest.fixture
def heard(cloud):
    """A running VM whose host is heard at once."""
    cloud.running()
    cloud.host.on_change(cloud.hear)
    return cloud.row().id


@pytest.fixture
def tries(cloud, monkeypatch):
    """When the machine was told to go on."""
    times, resume = [], cloud.host.machines.resume

    def counted(vm_id, *, term):
        times.append(cloud.clock())
        resume(vm_id, term=term)

    monkeypatch.setattr(cloud.host.machines, "resume", counted)
    return times


def test_a_machine_that_was_kept_still_for_a_moment_goes_on(cloud, heard):
    cloud.host.stall(heard)
    cloud.settle()
    assert (cloud.vm().state, cloud.host.machines.get(heard).power) == (VmState.ACTIVE, Power.RUNNING)
    assert cloud.events()[-2:] == ["vm.paused_on_io_error", "vm.resumed"]


def test_what_keeps_it_still_is_shown_until_its_host_can_write_again(cloud, heard):
    cloud.host.full = True
    cloud.host.stall(heard)
    cloud.pass_time(60)
    assert cloud.vm().state is VmState.SUSPENDED
    assert cloud.vm().waiting_for.startswith("paused: its host cannot write to one of its disks")
    cloud.host.full = False
    cloud.settle()
    assert (cloud.vm().state, cloud.vm().waiting_for) == (VmState.ACTIVE, "")
    assert cloud.events()[-2:] == ["vm.paused_on_io_error", "vm.resumed"]


def test_it_is_tried_now_and_then_however_often_the_host_tells_of_it(cloud, heard, tries):
    cloud.host.full = True
    cloud.host.stall(heard)
    cloud.pass_time(60)
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert set(pauses) == {RESUME_PAUSE}
    assert len(tries) == 13


def test_a_clock_that_was_set_back_delays_no_try(cloud, heard, tries):
    cloud.host.full = True
    cloud.host.stall(heard)
    cloud.pass_time(1)
    cloud.clock.advance(-3600)
    cloud.host.full = False
    cloud.host.stall(heard)
    cloud.run()
    assert len(tries) == 2


def test_one_that_nobody_told_of_is_found(cloud):
    cloud.running()
    cloud.host.stall(cloud.row().id)
    cloud.sweep()
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE
    assert cloud.events()[-1] == "vm.resumed"


def test_one_that_somebody_paused_by_hand_stays_so_until_he_lets_it_go_on(cloud, tries):
    cloud.running()
    machine = cloud.host.contents.machines[cloud.row().id]
    machine.power = Power.PAUSED
    cloud.sweep()
    cloud.settle()
    assert (cloud.vm().state, tries) == (VmState.SUSPENDED, [])
    machine.power = Power.RUNNING
    cloud.sweep()
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE


def test_one_that_is_to_stop_is_not_waited_for(cloud, heard):
    cloud.host.deaf = True
    cloud.ask(verbs.stop_vm)
    cloud.host.full = True
    cloud.host.stall(heard)
    cloud.run()
    assert cloud.vm().state is VmState.STOPPING
    cloud.pass_time(STOP_GRACE.total_seconds() + 1)
    assert (cloud.vm().state, cloud.host.machines.get(heard).power) == (VmState.STOPPED, Power.OFF)
