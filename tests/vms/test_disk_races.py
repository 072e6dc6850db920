"""Several at once at the same disks: one of a kind wins, nobody waits in a ring, the owner's last word counts."""

from concurrent.futures import ThreadPoolExecutor

from tests.made_up import PROJECT

from cumulet.disks import DiskState
from cumulet.disks import operations as disk_verbs
from cumulet.disks import vm_operations as verbs
from cumulet.errors import CumuletError
from cumulet.hypervisor.memory.machines import MemoryMachines
from cumulet.reconcile import Due
from cumulet.vms import operations as vm_verbs


def attach(cloud, vm_id="hello"):
    cloud.call(verbs.attach_storage_disk, project_id=PROJECT, id="data", vm_id=vm_id)


def accepted(act, *args):
    """1 when it was accepted, 0 when it was refused."""
    try:
        act(*args)
    except CumuletError:
        return 0
    return 1


def test_a_disk_that_many_ask_for_at_once_joins_one(cloud):
    names = [cloud.running(vm_id=f"vm-{number}").id for number in range(4)]
    cloud.create_disk()
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda name: accepted(attach, cloud, name), names)) == 1
    cloud.settle()
    assert sum(len(cloud.vm(name).storage_disks) for name in names) == 1


def test_a_disk_is_attached_or_deleted_but_never_both(cloud):
    cloud.running()
    for _ in range(8):
        cloud.create_disk()
        with ThreadPoolExecutor(3) as pool:
            attached = pool.submit(accepted, attach, cloud)
            deleted = pool.submit(accepted, cloud.ask, disk_verbs.delete_storage_disk, "data")
            created = pool.submit(accepted, lambda: cloud.create(vm_id="new", storage_disk_ids=["data"]))
        assert attached.result() + deleted.result() + created.result() == 1
        cloud.settle()
        for name in ["new"] if created.result() else []:
            cloud.ask(vm_verbs.terminate_vm, name)
        if attached.result():
            cloud.ask(verbs.detach_storage_disk, "data")
        cloud.settle()
        accepted(cloud.ask, disk_verbs.delete_storage_disk, "data")
        cloud.settle()


def test_growing_creating_sweeping_and_plots_take_turns_without_waiting_in_a_ring(cloud):
    cloud.running()

    def grow(step):
        accepted(
            lambda: cloud.call(
                verbs.resize_vm_disk, project_id=PROJECT, id="hello", disk_id="hello-boot", size_gib=step + 2
            )
        )

    def create(step):
        cloud.create(vm_id=f"vm-{step}", memory_gib=1)

    def work(_):
        cloud.sweep()

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.map(act, range(15)) for act in (grow, create, work)]:
            assert list(done) == [None] * 15
    cloud.settle()
    with cloud.database.reading() as db:
        problems = [due.error for due in db.query(Due)]
    assert set(problems) <= {""}
    assert cloud.host.disks.list()[cloud.row().boot_disk_id] == cloud.disk("hello-boot").size_gib


def test_what_its_owner_asks_while_a_disk_is_being_plugged_counts(cloud, monkeypatch):
    cloud.running()
    cloud.create_disk()
    plug, left = MemoryMachines.hotplug, [1]

    def plug_and_then(host, vm_id, disks):
        held = plug(host, vm_id, disks)
        if left and left.pop():
            cloud.ask(verbs.detach_storage_disk, "data")
        return held

    monkeypatch.setattr(MemoryMachines, "hotplug", plug_and_then)
    attach(cloud)
    cloud.settle()
    assert (cloud.disk().disk_state, cloud.disk().vm_id) == (DiskState.READY, "")
    assert cloud.host.contents.machines[cloud.row().id].plugged == set()
