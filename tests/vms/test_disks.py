"""A VM with its disks on a made-up host: plugged in and out, growing, going back, and outliving it."""

from decimal import Decimal

import pytest
from sqlalchemy import select, update
from tests.made_up import PROJECT, make_cloud
from tests.toy_reconcilers import Crash
from tests.words import MUST_BE_STOPPED

from cumulet.disks import Disk, DiskState, DiskType
from cumulet.disks import operations as disk_verbs
from cumulet.disks import snapshot_operations as snapshot_verbs
from cumulet.disks import vm_operations as verbs
from cumulet.disks.wire import CreateDiskSnapshot
from cumulet.errors import Invalid, NotFound, Refused
from cumulet.hosts import Reservation
from cumulet.hypervisor import MOST_STORAGE_DISKS, HypervisorError, Power
from cumulet.reconcile import wake
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as vm_verbs


def attach(cloud, id="data", vm_id="hello"):
    cloud.call(verbs.attach_storage_disk, project_id=PROJECT, id=id, vm_id=vm_id)


def detach(cloud, id="data"):
    cloud.ask(verbs.detach_storage_disk, id)


def resize(cloud, disk_id, size_gib, vm_id="hello", **more):
    cloud.call(verbs.resize_vm_disk, project_id=PROJECT, id=vm_id, disk_id=disk_id, size_gib=size_gib, **more)


def take_snapshot(cloud, name, id="data", vm_id="hello"):
    data = CreateDiskSnapshot(snapshot_id=name, vm_id=vm_id)
    cloud.call(snapshot_verbs.create_disk_snapshot, project_id=PROJECT, id=id, data=data)


def revert(cloud, name, id="data", vm_id="hello"):
    cloud.call(snapshot_verbs.revert_disk, project_id=PROJECT, id=id, snapshot_id=name, vm_id=vm_id)


def machine(cloud, id="hello"):
    return cloud.host.contents.machines[cloud.row(id).id]


def plugged(cloud, id="hello"):
    """Names of the storage disks that the machine runs with."""
    with cloud.database.reading() as db:
        found = db.execute(select(Disk.name).where(Disk.id.in_(machine(cloud, id).plugged)))
        return sorted(found.scalars())


def stop(cloud, id="hello"):
    cloud.ask(vm_verbs.stop_vm, id)
    cloud.settle()


@pytest.fixture
def running(cloud):
    cloud.running()
    return cloud


# Plugging in and out
def test_a_disk_that_comes_with_its_vm_is_told_of_once(cloud):
    cloud.create_disk()
    cloud.create(storage_disk_ids=["data"])
    cloud.settle()
    assert cloud.events().count("vm.disk_attached") == 1


def test_a_disk_that_leaves_a_machine_that_is_off_is_not_asked_back_from_its_guest(running, monkeypatch):
    running.attached()
    stop(running)
    asked = []
    monkeypatch.setattr(running.host.machines, "hotplug", lambda *_: asked.append("plug") or frozenset())
    detach(running)
    running.settle()
    assert (asked, running.events()[-1]) == ([], "vm.disk_detached")


def test_a_running_machine_gets_a_disk_without_a_new_start(running):
    before = machine(running).started
    assert running.attached().disk_state is DiskState.USED
    assert running.disk().vm_id == "hello"
    assert (plugged(running), machine(running).started) == (["data"], before)
    assert running.events()[-2:] == ["vm.disk_attach_requested", "vm.disk_attached"]


def test_a_disk_stays_through_stops_and_starts(running):
    running.attached()
    stop(running)
    assert plugged(running) == []
    running.ask(vm_verbs.start_vm)
    running.settle()
    assert plugged(running) == ["data"]


def test_a_stopped_machine_has_its_disk_at_the_next_start(running):
    stop(running)
    assert running.attached().disk_state is DiskState.USED
    running.ask(vm_verbs.start_vm)
    running.settle()
    assert plugged(running) == ["data"]


def test_a_disk_leaves_a_running_machine_and_joins_another(running):
    running.running(vm_id="other")
    running.attached()
    detach(running)
    running.settle()
    assert (plugged(running), running.disk().disk_state) == ([], DiskState.READY)
    assert running.events()[-2:] == ["vm.disk_detach_requested", "vm.disk_detached"]
    attach(running, vm_id="other")
    running.settle()
    assert plugged(running, "other") == ["data"]


def test_a_disk_leaves_a_stopped_machine(running):
    running.attached()
    stop(running)
    detach(running)
    running.settle()
    assert running.disk().vm_id == ""
    running.ask(vm_verbs.start_vm)
    running.settle()
    assert plugged(running) == []


def test_a_disk_that_has_left_can_be_deleted_while_the_machine_runs(running):
    running.attached()
    detach(running)
    running.settle()
    running.ask(disk_verbs.delete_storage_disk, "data")
    running.settle()
    assert running.host.disks.list().keys() == {running.row().boot_disk_id}


def test_a_guest_that_holds_on_to_a_disk_is_named_and_has_it_until_it_lets_go(running):
    running.attached()
    running.host.clinging = True
    detach(running)
    detach(running)
    running.pass_time(30)
    words = "the guest has not released disk data: unmount it there"
    assert (running.vm().waiting_for, running.disk().waiting_for) == (words, words)
    assert (running.vm().state, running.disk().vm_id) == (VmState.ACTIVE, "hello")
    for verb in (lambda: attach(running), lambda: running.ask(disk_verbs.delete_storage_disk, "data")):
        with pytest.raises(Refused) as refusal:
            verb()
        assert refusal.value.reason == "DISK_IN_USE"
    running.host.clinging = False
    running.settle()
    assert (running.disk().disk_state, running.vm().waiting_for) == (DiskState.READY, "")
    assert running.events().count("vm.disk_detached") == 1


def test_a_machine_whose_guest_holds_on_to_a_disk_can_be_stopped_and_terminated(running):
    running.attached()
    running.host.clinging = True
    detach(running)
    running.pass_time(5)
    stop(running)
    assert (running.vm().state, running.disk().vm_id) == (VmState.STOPPED, "")
    running.ask(vm_verbs.terminate_vm)
    running.settle()
    assert running.disk().disk_state is DiskState.READY


def test_a_disk_that_cannot_be_plugged_does_not_keep_its_vm_from_stopping(running, monkeypatch):
    running.create_disk()

    def refuse(*_):
        raise HypervisorError("no slot is left")

    monkeypatch.setattr(running.host.machines, "hotplug", refuse)
    attach(running)
    running.run()
    assert running.vm().problem == HypervisorError.for_owner
    stop(running)
    assert running.vm().state is VmState.STOPPED


def test_guests_find_their_disks_in_the_order_in_which_they_came(running):
    for name in ("b", "c", "a"):
        running.attached(name)
        running.clock.advance(1)
    with running.database.reading() as db:
        ids = {disk.name: disk.id for disk in db.scalars(select(Disk))}
    assert machine(running).spec.disks == (ids["b"], ids["c"], ids["a"])
    assert [disk.id for disk in running.vm().storage_disks] == ["a", "b", "c"]
    assert [disk.id for disk in running.ask(verbs.list_vm_disks).disks] == ["hello-boot", "a", "b", "c"]
    assert running.disk("a").serial == ids["a"].hex[:20]


# With a new VM
def test_a_vm_is_created_with_disks_on_the_host_where_they_lie(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=3")
    cloud.used_disk("one", 1)
    host_id = cloud.disk_row("one").host_id
    for number in range(2):
        cloud.create(vm_id=f"vm-{number}", memory_gib=1 + number)
    vm = cloud.running(storage_disk_ids=["one"], memory_gib=128)
    assert [disk.id for disk in vm.storage_disks] == ["one"]
    assert cloud.row().host_id == host_id
    assert cloud.disk("one").disk_state is DiskState.USED
    assert cloud.hosts[host_id].contents.machines[cloud.row().id].plugged == {cloud.disk_row("one").id}


def two_small_hosts(database, tmp_path):
    """Each has room for disks of 16 GiB."""
    return make_cloud(database, tmp_path, hypervisor="memory:?hosts=2&disk_gib=20")


def reserved_on(cloud, host_id):
    with cloud.database.reading() as db:
        return sum(db.scalars(select(Reservation.disk_gib).where(Reservation.host_id == host_id)))


def test_a_disk_goes_to_the_host_of_the_first_vm_that_gets_it(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=3")
    cloud.running()
    cloud.create_disk()
    here, kept_at = cloud.row().host_id, cloud.disk_row().host_id
    assert (kept_at == here, reserved_on(cloud, kept_at)) == (False, 10)
    attach(cloud)
    cloud.settle()
    id = cloud.disk_row().id
    assert (cloud.disk().disk_state, cloud.disk_row().host_id) == (DiskState.USED, here)
    assert [id in host.disks.list() for host in cloud.hosts.values()] == [one == here for one in cloud.hosts]
    assert (reserved_on(cloud, kept_at), reserved_on(cloud, here)) == (0, 11)
    assert cloud.hosts[here].contents.machines[cloud.row().id].plugged == {id}


def test_a_disk_for_which_the_vm_s_host_has_no_room_stays_free_for_others(database, tmp_path):
    cloud = two_small_hosts(database, tmp_path)
    cloud.running(boot_disk_size_gib=10)
    cloud.create_disk()
    words = r"^vmId: 'hello' .* a VM whose host has 10 GiB free in pool 'local'; on this one's 6 are"
    with pytest.raises(Invalid, match=words):
        attach(cloud)
    assert (cloud.disk().disk_state, cloud.disk().vm_id) == (DiskState.READY, "")
    assert cloud.running(vm_id="other", storage_disk_ids=["data"]).storage_disks[0].id == "data"


def test_a_new_vm_goes_where_its_new_disks_have_room_too(database, tmp_path):
    cloud = two_small_hosts(database, tmp_path)
    cloud.create_disk("filler", 5)
    cloud.create_disk("data", 12)
    with pytest.raises(Invalid, match="2 hosts: at most 16 GiB disk free, 17 requested"):
        cloud.create(boot_disk_size_gib=5, storage_disk_ids=["data"])
    vm = cloud.running(boot_disk_size_gib=4, storage_disk_ids=["data"])
    assert [disk.id for disk in vm.storage_disks] == ["data"]
    assert cloud.row().host_id == cloud.disk_row().host_id != cloud.disk_row("filler").host_id
    assert reserved_on(cloud, cloud.row().host_id) == 16


@pytest.mark.parametrize(
    "leave", [detach, lambda cloud: cloud.ask(vm_verbs.terminate_vm)], ids=["detach", "terminate"]
)
def test_a_disk_that_leaves_before_it_was_made_can_go_anywhere_again(running, leave):
    running.create_disk()
    attach(running)
    with pytest.raises(Crash):
        die_once_made(running)
    leave(running)
    running.settle()
    assert (running.disk().disk_state, running.disk().vm_id) == (DiskState.READY, "")
    assert running.disk_row().id not in running.host.disks.list()
    assert not running.disk_row().is_made


def die_once_made(cloud):
    """Let the process end when the disk is on its host and nobody has written that down."""
    create = cloud.host.disks.create

    def make_and_die(spec):
        create(spec)
        cloud.host.disks.create = create
        raise Crash

    cloud.host.disks.create = make_and_die
    cloud.run()


def test_disks_that_a_new_vm_cannot_have_are_refused_and_nothing_is_written(running):
    running.attached()
    running.create_disk("free")
    refusals = [
        (["data"], Refused, "it is attached to a VM"),
        (["hello-boot"], Refused, "boot disk"),
        (["nothing"], Invalid, "^storageDiskIds: there is no disk 'nothing'; there are 'data', 'free'"),
        (["free", "free"], Invalid, "different disks"),
        ([f"disk-{number}" for number in range(MOST_STORAGE_DISKS + 1)], Invalid, "at most 8"),
    ]
    for ids, kind, words in refusals:
        with pytest.raises(kind, match=words):
            running.create(vm_id="new", storage_disk_ids=ids)
    assert (running.count(Vm), running.disk("free").vm_id) == (1, "")


def test_a_disk_of_another_data_center_is_refused(running):
    running.create_disk()
    with running.database.writing() as db:
        db.execute(update(Disk).where(Disk.name == "data").values(data_center_id="mars"))
    with pytest.raises(Invalid, match="a VM in data center 'mars'"):
        attach(running)


def test_a_disk_that_a_vm_has_is_left_to_the_vm_s_plot(running):
    running.attached()
    del running.host.contents.disks[running.disk_row().id]
    with running.database.writing() as db:
        wake(db, "disk", running.disk_row().id, now=running.clock())
    running.run()
    assert running.due("disk", running.disk_row().id) is None
    assert running.disk().disk_state is DiskState.USED


def test_validating_a_vm_leaves_its_disks_free(cloud):
    cloud.create_disk()
    answer = cloud.create(storage_disk_ids=["data"], validate_only=True)
    assert [disk.id for disk in answer.storage_disks] == ["data"]
    assert cloud.disk().vm_id == ""


# Out of place
@pytest.mark.parametrize("verb", [attach, lambda cloud: resize(cloud, "hello-boot", 50)])
def test_disks_of_a_vm_in_the_making_are_left_alone(cloud, verb):
    cloud.create_disk()
    cloud.create()
    with pytest.raises(Refused, match="must be ACTIVE or STOPPED") as refusal:
        verb(cloud)
    assert refusal.value.reason == "VM_NOT_ACTIVE_OR_STOPPED"


def test_a_machine_takes_as_many_disks_as_it_has_room_for(running):
    for number in range(MOST_STORAGE_DISKS):
        running.attached(f"disk-{number}")
    running.create_disk()
    with pytest.raises(Invalid, match="fewer than 8"):
        attach(running)


def test_a_boot_disk_neither_leaves_nor_joins_nor_is_deleted(running):
    for verb in (attach, detach):
        with pytest.raises(Refused) as refusal:
            verb(running, "hello-boot")
        assert refusal.value.reason == "DISK_TYPE_INCORRECT"
    with pytest.raises(Refused, match="terminate that VM"):
        running.ask(disk_verbs.delete_storage_disk, "hello-boot")


def test_what_is_not_there_is_said_by_name(running):
    running.create_disk()
    for verb, words in (
        (lambda: attach(running, "nothing"), "disk 'nothing'"),
        (lambda: attach(running, vm_id="nobody"), "VM 'nobody'"),
        (lambda: detach(running, "nothing"), "disk 'nothing'"),
        (lambda: resize(running, "data", 20), "no disk of VM 'hello' called 'data'"),
    ):
        with pytest.raises(NotFound, match=words):
            verb()
    with pytest.raises(Refused) as refusal:
        detach(running)
    assert refusal.value.reason == "DISK_NOT_IN_USE"


# Growing
@pytest.mark.parametrize("state", [VmState.ACTIVE, VmState.STOPPED])
@pytest.mark.parametrize("id", ["data", "hello-boot"])
def test_a_disk_grows_with_its_room_and_its_price(running, state, id):
    running.attached()
    if state is VmState.STOPPED:
        stop(running)
    before = total(running)
    resize(running, id, 20)
    assert running.disk(id).disk_state is DiskState.LOCKED
    running.settle()
    disk = running.disk(id)
    assert (disk.size_gib, disk.disk_state, running.vm().state) == (20, DiskState.USED, state)
    assert running.host.disks.list()[running.disk_row(id).id] == 20
    assert room_of(running, id) == 20
    grown = 20 - (10 if id == "data" else 1)
    rate = Decimal(running.vm().price.storage_gib_price_hr.value)
    assert total(running) == before + grown * rate
    assert running.vm().boot_disk_size_gib == (20 if id == "hello-boot" else 1)


def total(cloud):
    return Decimal(cloud.ask(vm_verbs.get_vm).total_price_hr.value)


def room_of(cloud, id):
    with cloud.database.reading() as db:
        return db.get_one(Reservation, cloud.disk_row(id).id).disk_gib


def test_a_disk_never_shrinks_and_growing_to_its_own_size_is_nothing_to_do(running):
    running.attached()
    with pytest.raises(Invalid, match=r"^sizeGib: 9 is not accepted; expected 10 to 65536"):
        resize(running, "data", 9)
    resize(running, "data", 10)
    assert running.disk().disk_state is DiskState.USED


def test_a_disk_does_not_grow_beyond_the_room_of_its_host(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=1&disk_gib=20")
    cloud.running()
    with pytest.raises(Invalid, match="1 host: 15 GiB disk free, 16 requested"):
        resize(cloud, "hello-boot", 17)
    resize(cloud, "hello-boot", 16)
    cloud.settle()
    assert cloud.vm().boot_disk_size_gib == 16


def test_whether_a_disk_can_grow_is_told_without_growing_it(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=1&disk_gib=20")
    cloud.running()
    room = room_of(cloud, "hello-boot")
    resize(cloud, "hello-boot", 16, validate_only=True)
    with pytest.raises(Invalid, match="1 host: 15 GiB disk free, 16 requested"):
        resize(cloud, "hello-boot", 17, validate_only=True)
    assert (cloud.disk("hello-boot").disk_state, room_of(cloud, "hello-boot")) == (DiskState.USED, room)
    assert "vm.disk_resize_requested" not in cloud.events()


def test_a_disk_that_cannot_grow_now_grows_later_and_its_vm_can_be_stopped_meanwhile(running, monkeypatch):
    def refuse(*_, **__):
        raise HypervisorError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(running.host.disks, "resize", refuse)
        resize(running, "hello-boot", 5)
        running.run()
        assert (running.vm().state, running.vm().problem) == (VmState.ACTIVE, HypervisorError.for_owner)
        running.ask(vm_verbs.stop_vm)
        running.run()
        assert machine(running).power is Power.OFF
    running.settle()
    assert running.host.disks.list()[running.row().boot_disk_id] == 5


# Going back
def test_a_stopped_vm_goes_back_to_what_its_disk_held_and_keeps_its_size(running):
    stop(running)
    id = running.row().boot_disk_id
    running.host.write_disk(id, "before")
    take_snapshot(running, "one", "hello-boot")
    running.settle()
    running.ask(vm_verbs.start_vm)
    running.settle()
    running.host.write_disk(id, "after")
    resize(running, "hello-boot", 3)
    running.settle()
    stop(running)
    revert(running, "one", "hello-boot")
    running.ask(vm_verbs.start_vm)
    running.settle()
    assert (running.host.read_disk(id), running.host.disks.list()[id]) == ("before", 3)
    assert running.vm().state is VmState.ACTIVE


@pytest.mark.parametrize("verb", [take_snapshot, revert])
def test_disks_of_a_running_vm_neither_get_snapshots_nor_go_back(running, verb):
    running.attached()
    with pytest.raises(Refused, match=MUST_BE_STOPPED) as refusal:
        verb(running, "one")
    assert refusal.value.reason == "VM_NOT_STOPPED"


def test_a_vm_that_does_not_have_the_disk_is_refused_by_name(running):
    running.attached()
    stop(running)
    with pytest.raises(Invalid, match=r"^vmId: 'other' .* 'hello', the VM that the disk is attached to"):
        take_snapshot(running, "one", vm_id="other")


def test_a_disk_set_free_by_the_end_of_its_vm_gets_the_snapshot_that_was_asked_for(running):
    running.attached()
    stop(running)
    take_snapshot(running, "one")
    running.ask(vm_verbs.terminate_vm)
    running.settle()
    assert (running.disk().disk_state, running.disk().vm_id) == (DiskState.READY, "")
    assert len(running.host.disks.snapshots(running.disk_row().id)) == 1


# The end
def test_a_vm_goes_with_its_boot_disk_and_leaves_its_storage_disks(running):
    running.attached()
    running.host.write_disk(running.disk_row().id, "kept")
    running.ask(vm_verbs.terminate_vm)
    running.settle()
    assert running.host.disks.list().keys() == {running.disk_row().id}
    assert running.host.read_disk(running.disk_row().id) == "kept"
    assert (running.disk().disk_state, running.disk().vm_id) == (DiskState.READY, "")
    assert running.count(Reservation) == 1
    running.running(storage_disk_ids=["data"])
    assert plugged(running) == ["data"]


def test_a_vm_whose_disk_is_lost_goes_on_without_it_when_it_is_detached(running):
    running.attached()
    stop(running)
    del running.host.contents.disks[running.disk_row().id]
    running.ask(vm_verbs.start_vm)
    running.pass_time(3)
    assert running.vm().state is VmState.FAILED
    assert "restore it, or detach it" in running.vm().problem
    detach(running)
    running.settle()
    assert (running.vm().state, running.disk().vm_id) == (VmState.ACTIVE, "")
    running.sweep()
    assert running.disk().disk_state is DiskState.ERROR


def test_a_disk_s_type_and_image_are_shown(running):
    running.attached()
    boot = running.disk("hello-boot")
    assert (boot.disk_type, boot.public_image_id, boot.vm_id) == (DiskType.BOOT, "micro", "hello")
    assert running.vm().boot_disk == boot
    assert (running.disk().disk_type, running.disk().public_image_id) == (DiskType.STORAGE, "")
    assert running.vm().storage_disks == [running.disk()]
