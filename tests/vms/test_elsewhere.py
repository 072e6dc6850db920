"""VMs of a lost host whose disks are shared: started elsewhere once there is proof, and never twice."""

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import func, select, update
from tests.crash.faults import FaultyDatabase, Point, Where, insist
from tests.made_up import PROJECT, make_cloud, with_shared_pool
from tests.toy_reconcilers import Crash
from tests.vms.test_lost_hosts import (
    ONE,
    THREE,
    TWO,
    PowerCommand,
    back,
    row_of,
    running_on,
    silence,
    twin_of,
)
from tests.vms.test_moves import Witness, host_of, move, survive
from tests.vms.test_shared_pools import OWN, SHARED

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.disks import vm_operations as disk_of_vm
from cumulet.errors import Refused
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import AskOfHost, LoseHost
from cumulet.hosts import Host, HostState, Reservation
from cumulet.hypervisor import HypervisorError, OlderTerm
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations


@pytest.fixture
def cloud(database, tmp_path):
    return with_three_far_hosts(database, tmp_path, with_shared_pool(read_catalogue(None)))


def with_three_far_hosts(database, tmp_path, catalogue):
    """Give a cloud whose three hosts are reached by SSH, none of them the server's own machine."""
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=3", catalogue=catalogue)
    with database.writing() as db:
        db.execute(update(Host).values(uri="ssh://root@" + Host.name))
    return cloud


def die(cloud, name):
    """Take a host's power: what ran there is off, and nobody knows yet."""
    twin_of(cloud, name).boot()
    silence(cloud, name)


def on_shared(cloud, **fields):
    """A VM on the first host, with something on its disk."""
    running_on(cloud, ONE, boot_disk=SHARED, **fields)
    host_of(cloud).write_disk(cloud.row().boot_disk_id, "hard work")


def lost(cloud, name):
    die(cloud, name)
    cloud.call(hosts.lose_host, id=name, data=LoseHost(confirm=name))
    cloud.pass_time(30)


def test_a_vm_on_shared_storage_runs_elsewhere_once_its_host_is_lost(cloud):
    on_shared(cloud)
    term = cloud.row().term
    lost(cloud, ONE)
    assert (cloud.vm().state, cloud.row().term, cloud.row().crashes) == (VmState.ACTIVE, term + 1, 0)
    assert host_of(cloud) is not twin_of(cloud, ONE)
    assert host_of(cloud).read_disk(cloud.row().boot_disk_id) == "hard work"
    with cloud.database.reading() as db:
        assert set(db.scalars(select(Reservation.host_id))) == {cloud.row().host_id}
    told = [entry.text for entry in cloud.ask(operations.get_vm_timeline).entries]
    assert "its host is lost: moved to another one" in told
    back(cloud, ONE)
    assert row_of(cloud, ONE).state is HostState.UP
    assert not twin_of(cloud, ONE).contents.machines
    cloud.pass_time(300)
    assert host_of(cloud).read_disk(cloud.row().boot_disk_id) == "hard work"


def test_nothing_is_started_elsewhere_of_a_host_that_is_merely_silent(cloud, monkeypatch):
    on_shared(cloud)
    witness = Witness(cloud, monkeypatch)
    silence(cloud, ONE)
    cloud.pass_time(600)
    assert cloud.row().host_id == row_of(cloud, ONE).id
    back(cloud, ONE)
    cloud.settle()
    assert (cloud.vm().state, witness.most) == (VmState.ACTIVE, 1)


def test_power_that_is_seen_to_be_off_is_proof_enough(cloud):
    cloud.backends = replace(cloud.backends, power_off=PowerCommand())
    cloud.reconciler = cloud.new_reconciler()
    on_shared(cloud)
    die(cloud, ONE)
    cloud.pass_time(100)
    assert (cloud.vm().state, host_of(cloud) is twin_of(cloud, ONE)) == (VmState.ACTIVE, False)


def test_vms_that_are_to_be_together_go_to_one_host(cloud):
    together = {"metadata": {"cumulet/together": "cache"}}
    on_shared(cloud, **together)
    for name in ("beside", "likewise"):
        cloud.running(vm_id=name, boot_disk=SHARED, **together)
    lost(cloud, ONE)
    cloud.pass_time(100)
    (there,) = {cloud.row(name).host_id for name in ("hello", "beside", "likewise")}
    assert cloud.hosts[there] is not twin_of(cloud, ONE)
    assert {cloud.vm(name).state for name in ("hello", "beside", "likewise")} == {VmState.ACTIVE}


def test_a_vm_with_a_disk_of_its_hosts_own_waits_for_it(cloud):
    cloud.create_disk("data", 1, storage_class=StorageClass.LOCAL)
    on_shared(cloud, storage_disk_ids=["data"])
    lost(cloud, ONE)
    assert cloud.vm().state is VmState.UNKNOWN
    why = "its host is lost: what is on its disks is back if that host is"
    assert cloud.vm().waiting_for == f"{why}; its disk 'data' lies there and would have to be detached first"
    cloud.call(disk_of_vm.detach_storage_disk, project_id=PROJECT, id="data")
    cloud.pass_time(60)
    assert (cloud.vm().state, host_of(cloud) is twin_of(cloud, ONE)) == (VmState.ACTIVE, False)
    assert host_of(cloud).read_disk(cloud.row().boot_disk_id) == "hard work"
    assert (cloud.disk().vm_id, cloud.disk_row().host_id) == ("", row_of(cloud, ONE).id)
    back(cloud, ONE)
    cloud.pass_time(120)
    assert cloud.disk_row().id in twin_of(cloud, ONE).disks.list()


def test_a_vm_that_boots_from_its_hosts_own_disk_waits_for_it_with_all_that_it_has(cloud):
    cloud.create_disk("data", 1, storage_class=StorageClass.NETWORK)
    running_on(cloud, ONE, boot_disk=OWN, storage_disk_ids=["data"])
    lost(cloud, ONE)
    assert cloud.vm().waiting_for.endswith("; its disk 'hello-boot' lies there")
    with pytest.raises(Refused, match="its host is lost: what is on its disks is back if that host is"):
        move(cloud)


def test_a_vm_whose_owner_says_so_waits_for_its_host(cloud):
    on_shared(cloud, metadata={"cumulet/stay": "yes"})
    lost(cloud, ONE)
    assert cloud.vm().state is VmState.UNKNOWN
    assert cloud.vm().waiting_for.endswith("its metadata has cumulet/stay")


def test_a_vm_that_was_off_comes_along_and_can_be_started(cloud):
    on_shared(cloud)
    cloud.ask(operations.stop_vm)
    cloud.settle()
    lost(cloud, ONE)
    assert (cloud.vm().state, host_of(cloud) is twin_of(cloud, ONE)) == (VmState.STOPPED, False)
    cloud.ask(operations.start_vm)
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE


def test_storage_disks_on_a_shared_pool_come_along(cloud):
    cloud.create_disk("used", 1, storage_class=StorageClass.NETWORK)
    cloud.create_disk("loose", 1, storage_class=StorageClass.NETWORK)
    on_shared(cloud, storage_disk_ids=["used", "loose"])
    cloud.call(disk_of_vm.detach_storage_disk, project_id=PROJECT, id="loose")
    cloud.settle()
    lost(cloud, ONE)
    left = {cloud.row().host_id, cloud.disk_row("used").host_id, cloud.disk_row("loose").host_id}
    assert row_of(cloud, ONE).id not in left
    assert host_of(cloud).contents.machines[cloud.row().id].spec.disks == (cloud.disk_row("used").id,)
    running_on(cloud, TWO, vm_id="other", boot_disk=OWN)
    cloud.call(disk_of_vm.attach_storage_disk, project_id=PROJECT, id="loose", vm_id="other")
    cloud.settle()
    assert cloud.disk_row("loose").host_id == row_of(cloud, TWO).id


def test_without_room_elsewhere_it_waits_and_goes_once_there_is(cloud):
    on_shared(cloud)
    for name in (TWO, THREE):
        cloud.call(hosts.cordon_host, id=name, data=AskOfHost())
    lost(cloud, ONE)
    assert cloud.vm().state is VmState.UNKNOWN
    assert "its host is lost; no host has capacity" in cloud.vm().waiting_for
    cloud.call(hosts.uncordon_host, id=THREE)
    cloud.pass_time(120)
    assert (cloud.vm().state, host_of(cloud)) == (VmState.ACTIVE, twin_of(cloud, THREE))


def test_a_host_with_another_directory_at_that_path_is_no_place_for_it(cloud):
    on_shared(cloud)
    for name in (TWO, THREE):
        twin_of(cloud, name).unmount("net")
    cloud.sweep()
    lost(cloud, ONE)
    assert "does not share the VM's disks" in cloud.vm().waiting_for
    twin_of(cloud, TWO).mount("net")
    cloud.pass_time(120)
    assert (cloud.vm().state, host_of(cloud)) == (VmState.ACTIVE, twin_of(cloud, TWO))


def test_a_vm_that_is_terminated_on_a_lost_host_leaves_nothing_on_shared_storage(cloud):
    on_shared(cloud, metadata={"cumulet/stay": "yes"})
    lost(cloud, ONE)
    cloud.ask(operations.terminate_vm)
    cloud.pass_time(200)
    assert not twin_of(cloud, TWO).contents.disks


def test_whoever_slept_through_it_starts_it_nowhere_where_it_was(cloud):
    on_shared(cloud)
    term, id = cloud.row().term, cloud.row().id
    lost(cloud, ONE)
    host = twin_of(cloud, ONE)
    host.unreachable = False
    with pytest.raises(OlderTerm):
        host.machines.start(id, term=term)


def test_a_host_that_is_back_while_its_vm_goes_elsewhere_is_not_up_before_the_machine_there_is_ended(
    cloud, monkeypatch
):
    on_shared(cloud)
    id, host, read = cloud.row().id, twin_of(cloud, ONE), twin_of(cloud, ONE).gpus.read
    silence(cloud, ONE)
    cloud.call(hosts.lose_host, id=ONE, data=LoseHost(confirm=ONE))
    host.unreachable = False

    def go_elsewhere_meanwhile():
        with cloud.database.writing() as db:
            row = cloud.row()
            to = row_of(cloud, TWO).id
            db.execute(update(type(row)).values(host_id=to, term=row.term + 1))
        monkeypatch.setattr(host.gpus, "read", read)
        return read()

    monkeypatch.setattr(host.gpus, "read", go_elsewhere_meanwhile)
    states = []
    undefine = host.machines.undefine
    monkeypatch.setattr(
        host.machines, "undefine", lambda vm_id: (states.append(row_of(cloud, ONE).state), undefine(vm_id))
    )
    cloud.sweep()
    cloud.pass_time(1)
    assert states[:1] == [HostState.LOST]
    assert (row_of(cloud, ONE).state, host.machines.get(id)) == (HostState.UP, None)


LONG_ENOUGH = 200.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("dies", [True, False], ids=["dies", "fails"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("which", ["new", "old", "commit"])
def test_wherever_the_way_elsewhere_is_hit_the_vm_runs_once_with_its_disk(
    cloud, monkeypatch, which, after, dies
):
    """Lost, elsewhere, the old host back, hit at a later call each time: of the new host, of the old one, of the database."""
    cloud.database = FaultyDatabase(cloud.database.url)
    cloud.reconciler = cloud.new_reconciler()
    on_shared(cloud)
    witness = Witness(cloud, monkeypatch)
    for call in range(1, 13):
        old = cloud.row().host_id
        (name,) = [name for name in (ONE, TWO, THREE) if row_of(cloud, name).id == old]
        die(cloud, name)
        arm(cloud, which, call, old=cloud.hosts[old], after=after, dies=dies)
        insist(partial(cloud.call, hosts.lose_host, id=name, data=LoseHost(confirm=name)))
        survive(cloud, 40 if call % 2 else LONG_ENOUGH)
        cloud.hosts[old].unreachable = False
        survive(cloud, LONG_ENOUGH)
        for host in cloud.hosts.values():
            host.crash_on_call(0, None, after=False)
        survive(cloud, 60)
        assert (call, cloud.vm().state) == (call, VmState.ACTIVE)
        assert host_of(cloud).read_disk(cloud.row().boot_disk_id) == "hard work"
        running = [host for host in cloud.hosts.values() if host.contents.machines]
        assert running == [host_of(cloud)]
        assert witness.most == 1
        with cloud.database.reading() as db:
            assert db.scalar(select(func.count()).select_from(Reservation)) == 2
    cloud.database.close()


def arm(cloud, which, call, *, old, after, dies):
    if which == "commit":
        point = Point(Where.COMMIT, call, after=after, dies=dies)
        cloud.database.fault = (cloud.database.commit_count + call, point)
        return
    error = Crash(f"{which} {call}") if dies else HypervisorError("stumbled")
    for host in [old] if which == "old" else [host for host in cloud.hosts.values() if host is not old]:
        host.crash_on_call(call, error, after=after)
