from cumulet.vms.wire import VmState


def test_a_vm_that_was_asked_for_comes_to_run(cloud):
    asked = cloud.create(start_script="exit 3")
    assert asked.state is VmState.PENDING
    cloud.settle()
    cloud.pass_time(5)
    vm = cloud.vm()
    assert vm.state is VmState.ACTIVE
    assert (vm.guest.agent_answers, vm.guest.first_boot_done, vm.guest.start_script_status) == (True, True, 3)
