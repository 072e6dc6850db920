"""A device that a machine was given reports errors: QEMU stops it for good, its owner is told and can start it anew."""

import pytest
from structlog.testing import capture_logs

from cumulet.hypervisor import Power
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs


@pytest.fixture
def faulted(cloud):
    """A running VM whose machine has just been stopped for a fault."""
    cloud.running()
    cloud.host.on_change(cloud.hear)
    cloud.host.fault(cloud.row().id)
    cloud.settle()
    return cloud.row().id


def test_its_owner_is_told_once_and_what_to_do(cloud, faulted):
    assert (cloud.vm().state, cloud.vm().short_state) == (VmState.FAILED, "fail")
    cloud.sweep()
    cloud.pass_time(120)
    assert cloud.events().count("vm.faulted") == 1
    told = cloud.ask(verbs.get_vm_timeline).entries[-1]
    assert (
        told.text
        == "an error that its guest cannot recover from stopped it: stop and start it, or terminate it"
    )


def test_its_operator_is_told_too(cloud):
    cloud.running()
    cloud.host.fault(id := cloud.row().id)
    with capture_logs() as logs:
        cloud.sweep()
        cloud.settle()
    assert [(log["event"], log["id"]) for log in logs if log["log_level"] == "warning"] == [
        ("a VM's machine faulted", str(id))
    ]


def test_it_is_not_started_anew_by_itself(cloud, faulted):
    cloud.pass_time(600)
    assert cloud.host.machines.get(faulted).power is Power.FAULTED


def test_a_stop_pulls_its_plug_at_once_and_a_start_runs_it_again(cloud, faulted):
    cloud.ask(verbs.stop_vm)
    cloud.run()
    assert cloud.host.machines.get(faulted).power is Power.OFF
    cloud.settle()
    assert (cloud.vm().state, cloud.events()[-2:]) == (VmState.STOPPED, ["vm.forced_off", "vm.stopped"])
    cloud.ask(verbs.start_vm)
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE


@pytest.mark.parametrize(
    ("verb", "state"), [(verbs.stop_vm, VmState.STOPPED), (verbs.reboot_vm, VmState.ACTIVE)]
)
def test_a_fault_while_the_guest_is_asked_to_shut_down_ends_the_wait(cloud, verb, state):
    cloud.running()
    cloud.host.on_change(cloud.hear)
    cloud.host.deaf = True
    cloud.ask(verb)
    cloud.run()
    cloud.host.fault(cloud.row().id)
    cloud.settle()
    assert cloud.vm().state is state
    assert "vm.faulted" not in cloud.events()


def test_one_that_nobody_told_of_is_found(cloud):
    cloud.running()
    cloud.host.fault(cloud.row().id)
    cloud.sweep()
    cloud.settle()
    assert cloud.vm().state is VmState.FAILED


def test_one_that_its_operator_let_go_on_is_seen_to_run(cloud, faulted):
    cloud.host.contents.machines[faulted].power = Power.RUNNING
    cloud.sweep()
    cloud.settle()
    assert (cloud.vm().state, cloud.events()[-1]) == (VmState.ACTIVE, "vm.resumed")


def test_it_is_terminated_like_any_other(cloud, faulted):
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    assert cloud.host.machines.list() == {}
