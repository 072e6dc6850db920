"""An owner's word against what a reconciler saw a moment before: the owner wins."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import select
from tests.made_up import PROJECT

from cumulet.errors import Invalid, NotFound, Refused
from cumulet.hosts import Reservation
from cumulet.hypervisor.memory.machines import MemoryMachines
from cumulet.monitoring.model import Samples
from cumulet.reconcile import wake
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import change_operations as changes
from cumulet.vms import operations as verbs
from cumulet.vms.reconcile import vm as reconcile
from cumulet.vms.wire import UpdateVmExpireTime


@pytest.fixture
def meanwhile(monkeypatch):
    """Let something happen once, right after a host answered how a machine is."""

    def meanwhile(happens):
        look = MemoryMachines.get
        left = [happens]

        def look_and_then(host, vm_id):
            found = look(host, vm_id)
            if left:
                left.pop()()
            return found

        monkeypatch.setattr(MemoryMachines, "get", look_and_then)

    return meanwhile


def test_a_terminate_outweighs_a_guest_that_just_powered_itself_off(cloud, meanwhile):
    cloud.running()
    cloud.host.guest_powers_off(cloud.row().id)
    meanwhile(lambda: cloud.ask(verbs.terminate_vm))
    cloud.sweep()
    cloud.settle()
    with pytest.raises(NotFound):
        cloud.vm()


def test_a_restart_outweighs_a_guest_that_just_powered_itself_off(cloud, meanwhile):
    cloud.running()
    cloud.host.guest_powers_off(cloud.row().id)
    meanwhile(lambda: cloud.ask(verbs.reboot_vm))
    cloud.sweep()
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE
    assert not cloud.row().reboot_pending


def test_a_vm_whose_end_is_put_off_while_that_is_begun_lives_on(cloud, monkeypatch):
    cloud.running(ttl="60s")
    cloud.clock.advance(60)
    look = reconcile.expired

    def put_off_and_look(run, vm):
        monkeypatch.setattr(reconcile, "expired", look)
        data = UpdateVmExpireTime(ttl="3600s")
        cloud.call(changes.update_vm_expire_time, project_id=PROJECT, id="hello", data=data)
        return look(run, vm)

    monkeypatch.setattr(reconcile, "expired", put_off_and_look)
    cloud.settle()
    cloud.run()
    assert cloud.vm().state is VmState.ACTIVE


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
    """A reconciler's writes and a verb's meet on the same rows again and again; nobody is chosen to give up."""
    id = cloud.running().id

    def verb(_):
        cloud.ask(verbs.reboot_vm, id)

    def reconcile(_):
        cloud.reconciler.run_due()

    with ThreadPoolExecutor(4) as pool:
        for verbs_done, plots_done in zip(
            pool.map(verb, range(25)), pool.map(reconcile, range(25)), strict=True
        ):
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


def test_who_resizes_and_who_creates_never_get_the_same_room(cloud):
    """255 GiB: each of two stopped VMs may grow, and new ones come, until they are taken, and none twice."""
    for name in ("one", "two"):
        cloud.running(vm_id=name, vcpus=2, memory_gib=4)
        cloud.ask(verbs.stop_vm, name)
    cloud.settle()

    def take(number):
        with suppress(Invalid):
            if number % 2:
                cloud.create(vm_id=f"new-{number}", vcpus=10, memory_gib=40)
            else:
                name = ("one", "two")[number // 2 % 2]
                cloud.call(changes.resize_vm, project_id=PROJECT, id=name, memory_gib=30 + number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(16)))
    with cloud.database.reading() as db:
        reserved = [mib // 1024 for mib in db.scalars(select(Reservation.memory_mib)) if mib]
        sizes = db.scalars(select(Vm.memory_gib)).all()
    assert sorted(reserved) == sorted(sizes)
    assert 255 - 40 < sum(reserved) <= 255


def test_samples_and_ends_take_turns_without_waiting_in_a_ring(cloud, monkeypatch):
    monkeypatch.setattr(cloud.host.guests, "ping", lambda _: None)
    for number in range(8):
        cloud.running(vm_id=f"vm-{number}", vcpus=1, memory_gib=1)
    for number in range(8):
        cloud.ask(verbs.terminate_vm, f"vm-{number}")
    with cloud.database.writing() as db:
        wake(db, "samples", cloud.host_id, now=cloud.clock())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: cloud.reconciler.run_due(), range(12)))
    cloud.settle()
    assert cloud.count(Vm) == cloud.count(Samples) == 0
    assert cloud.due("samples", cloud.host_id).error == ""
