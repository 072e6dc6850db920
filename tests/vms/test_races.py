"""An owner's word against what a plot saw a moment before: the owner wins."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from cumulet.errors import NotFound, Refused
from cumulet.hypervisor.memory import MemoryHypervisor
from cumulet.vms import operations as verbs
from cumulet.vms.wire import VmState


@pytest.fixture
def meanwhile(monkeypatch):
    """Let something happen once, right after a host answered how a machine is."""

    def meanwhile(happens):
        look = MemoryHypervisor.domain
        left = [happens]

        def look_and_then(host, vm_id):
            found = look(host, vm_id)
            if left:
                left.pop()()
            return found

        monkeypatch.setattr(MemoryHypervisor, "domain", look_and_then)

    return meanwhile


def test_a_terminate_outweighs_a_guest_that_just_powered_itself_off(cloud, meanwhile):
    cloud.running()
    cloud.host.guest_powers_off(cloud.row().id)
    meanwhile(lambda: cloud.ask(verbs.terminate_vm))
    cloud.sweep()
    cloud.settle()
    with pytest.raises(NotFound):
        cloud.vm()


def test_a_terminate_shows_from_the_moment_it_is_accepted(cloud, meanwhile):
    cloud.create()
    meanwhile(lambda: cloud.ask(verbs.terminate_vm))
    shown = []
    with suppress(NotFound):
        while cloud.reconciler.run_due():
            shown.append(cloud.vm().state)
            cloud.clock.advance(0.1)
    assert set(shown) <= {VmState.PENDING, VmState.STARTING, VmState.DELETING}


def test_verbs_and_plots_take_turns_without_waiting_in_a_ring(cloud):
    """A plot's writes and a verb's meet on the same rows again and again; nobody is chosen to give up."""
    id = cloud.running().id

    def verb(_):
        cloud.ask(verbs.reboot_vm, id)

    def plot(_):
        cloud.reconciler.run_due()

    with ThreadPoolExecutor(4) as pool:
        for verbs_done, plots_done in zip(pool.map(verb, range(25)), pool.map(plot, range(25)), strict=True):
            assert verbs_done is plots_done is None
    assert cloud.row().reboots_asked == 25
    assert cloud.due("vm", cloud.row().id).error == ""


def test_two_of_a_kind_at_once_are_judged_one_after_the_other(cloud):
    id = cloud.running().id

    def stop(_):
        try:
            cloud.ask(verbs.stop_vm, id)
        except Refused:
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(stop, range(8))) == 1
