"""A clock that is set back: whoever waits counts from then on, and not until the old time has come again."""

from cumulet.hypervisor import Power
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs
from cumulet.vms.reconcile.power import ASK_AGAIN, STOP_GRACE

HOUR = 3600


def test_a_deaf_guest_gets_its_time_once_more_and_no_longer(cloud):
    cloud.running()
    cloud.host.deaf = True
    cloud.ask(verbs.stop_vm)
    cloud.run()
    cloud.clock.advance(-HOUR)
    cloud.pass_time(STOP_GRACE.total_seconds() + ASK_AGAIN)
    assert cloud.vm().state is VmState.STOPPED


def test_a_machine_that_ended_again_starts_without_a_pause_from_the_future(cloud):
    cloud.running()
    for _ in range(3):
        cloud.host.kill(cloud.row().id)
        cloud.sweep()
    cloud.clock.advance(-HOUR)
    cloud.run()
    assert cloud.host.machines.get(cloud.row().id).power is Power.RUNNING
