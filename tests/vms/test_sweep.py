"""The look at everything: what others changed behind our back is found, what is ours and has no owner goes."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update
from structlog.testing import capture_logs
from tests.made_up import store_image
from tests.words import HOST_SILENT

from cumulet.errors import Invalid
from cumulet.feed.operations import list_all_events
from cumulet.fleet import operations as fleet
from cumulet.hosts import Host, HostState, Reservation, register_host
from cumulet.hosts.orphans import GRACE
from cumulet.hypervisor import BaseImage, DiskSpec, DomainSpec, HypervisorError, ImageName, Power, Seed
from cumulet.journal import events_about
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs
from cumulet.vms.reconcile.sweep import differs

AFTER_GRACE = GRACE.total_seconds() + 1


@pytest.fixture
def row_of_the_host(cloud):
    def look():
        with cloud.database.reading() as db:
            return db.get_one(Host, cloud.host_id)

    return look


def put_orphans(host, image):
    """A machine with its disk and seed that no row knows of; gives both ids."""
    base = BaseImage(sha256=image.sha256, format="qcow2", path=image.path, size_gib=1)
    id, disk_id = uuid4(), uuid4()
    host.images.copy(base)
    host.disks.create(DiskSpec(id=disk_id, size_gib=1, base=base, pool="local"))
    host.seeds.write(
        Seed(vm_id=id, instance_id="", hostname="", ssh_keys=(), password_hash="", start_script="")
    )
    host.machines.define(
        DomainSpec(
            id=id,
            name="left",
            project="",
            vcpus=1,
            memory_mib=1,
            topology=None,
            boot_disk=disk_id,
            boot_image=ImageName(base.sha256, base.format),
            disks=(),
            nics=(),
        )
    )
    host.machines.start(id)
    return id, disk_id


def contents(host):
    return len(host.machines.list()), len(host.disks.list()), len(host.seeds.list())


def test_a_machine_that_vanished_is_made_again(cloud):
    cloud.running()
    cloud.host.machines.undefine(cloud.row().id)
    cloud.sweep()
    cloud.settle()
    assert cloud.host.machines.get(cloud.row().id).power is Power.RUNNING
    assert cloud.vm().state is VmState.ACTIVE


def test_a_machine_that_somebody_stopped_behind_our_back_runs_again(cloud):
    cloud.running()
    cloud.host.machines.force_off(cloud.row().id)
    cloud.sweep()
    assert cloud.host.machines.get(cloud.row().id).power is Power.RUNNING


def test_a_machine_that_somebody_started_behind_our_back_is_stopped_again(cloud):
    cloud.running()
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    cloud.host.machines.start(cloud.row().id)
    cloud.sweep()
    cloud.settle()
    assert cloud.host.machines.get(cloud.row().id).power is Power.OFF
    assert cloud.vm().state is VmState.STOPPED


def test_a_machine_as_it_should_be_is_left_alone(cloud):
    cloud.running()
    before = cloud.host.machines.get(cloud.row().id)
    cloud.sweep()
    assert cloud.due("vm", cloud.row().id) is None
    assert cloud.host.machines.get(cloud.row().id) == before


def test_a_host_is_looked_at_again_every_half_minute(cloud):
    cloud.sweep()
    cloud.running()
    cloud.host.kill(cloud.row().id)
    cloud.pass_time(31)
    assert cloud.host.machines.get(cloud.row().id).power is Power.RUNNING


def test_what_is_ours_and_has_no_owner_goes_after_the_grace(cloud):
    cloud.remember(*put_orphans(cloud.host, cloud.images.find("micro")))
    cloud.sweep()
    cloud.clock.advance(AFTER_GRACE / 2)
    cloud.sweep()
    assert contents(cloud.host) == (1, 1, 1)
    cloud.clock.advance(AFTER_GRACE / 2)
    cloud.sweep()
    assert contents(cloud.host) == (0, 0, 0)


def test_a_database_restored_from_a_backup_costs_no_vm_that_is_younger(cloud):
    ids = put_orphans(cloud.host, cloud.images.find("micro"))
    stored = cloud.images.private(uuid4())
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.touch()
    with capture_logs() as lines:
        for _ in range(3):
            cloud.sweep()
            cloud.clock.advance(AFTER_GRACE)
    assert contents(cloud.host) == (1, 1, 1)
    assert stored.exists()
    (told,) = [line for line in lines if line["event"] == "kept objects that the database has never known"]
    assert told["ids"] == sorted(str(id) for id in (*ids, UUID(stored.stem)))


def test_what_the_database_has_never_known_is_shown_with_its_host_until_it_is_gone(cloud):
    ids = put_orphans(cloud.host, cloud.images.find("micro"))
    cloud.sweep()
    (name,) = [one.id for one in cloud.call(fleet.list_hosts).hosts]
    strays = cloud.call(fleet.get_host, id=name).host.strays
    assert sorted(strays) == ["disk", "domain", "seed"]
    assert {id for several in strays.values() for id in several} == {str(id) for id in ids}
    cloud.remember(*ids)
    cloud.sweep()
    assert cloud.call(fleet.get_host, id=name).host.strays == {}
    assert [one.text for one in cloud.call(list_all_events, event=["host.strays"]).events] == [
        "there that the database has never known: 1 domain, 1 disk, 1 seed",
        "there that the database has never known: nothing any more",
    ]


def test_what_is_removed_because_nobody_has_it_is_told(cloud):
    cloud.remember(*put_orphans(cloud.host, cloud.images.find("micro")))
    cloud.sweep()
    cloud.clock.advance(AFTER_GRACE)
    cloud.sweep()
    (told,) = cloud.call(list_all_events, event=["host.leftovers_removed"]).events
    assert told.text == "removed what nobody has any more: 1 domain, 1 disk, 1 seed"


def test_what_got_an_owner_within_the_grace_stays(cloud):
    cloud.remember(*put_orphans(cloud.host, cloud.images.find("micro")))
    cloud.sweep()
    id = cloud.running().id
    (left,) = cloud.host.machines.list().keys() - {cloud.row(id).id}
    cloud.clock.advance(AFTER_GRACE)
    with cloud.database.writing() as db:
        db.execute(update(Vm).values(id=left))
    cloud.sweep()
    assert left in cloud.host.machines.list()


def test_a_host_that_got_another_name_keeps_all_it_has(cloud):
    cloud.running()
    renamed = replace(cloud.host.facts(), name="as it is called now")
    with cloud.database.writing() as db:
        now_called = register_host(db, renamed, data_center_id="local", uri="memory:", now=cloud.clock())
    cloud.backends = replace(cloud.backends, hosts={now_called.id: cloud.host})
    cloud.hosts = cloud.backends.hosts
    cloud.reconciler = cloud.new_reconciler()
    for _ in range(3):
        cloud.clock.advance(AFTER_GRACE)
        cloud.sweep()
    assert contents(cloud.host) == (1, 1, 1)


def test_a_copy_of_an_image_that_nobody_needs_goes(cloud):
    cloud.running()
    cloud.host.images.copy(BaseImage(sha256="0" * 64, format="raw", path=Path("/nowhere"), size_gib=1))
    cloud.sweep()
    assert cloud.host.images.copies().keys() == {cloud.images.find("micro").sha256}


def copied(cloud, *ids):
    """Offer images, and have copies of them on the host."""
    for id in ids:
        image = store_image(cloud.images, id, content=id.encode())
        base = BaseImage(sha256=image.sha256, format="raw", path=image.path, size_gib=1)
        cloud.host.images.copy(base)
    cloud.sweep()


def names_on(cloud):
    names = {image.sha256: image.id for image in cloud.images.list()}
    return {names[sha256] for sha256 in cloud.host.images.copies()}


def test_copies_that_no_vm_uses_give_way_when_room_is_short_those_unused_for_longest_first(cloud):
    cloud.running()
    copied(cloud, "old")
    cloud.pass_time(3600)
    copied(cloud, "new")
    cloud.pass_time(7200)
    cloud.sweep()
    assert names_on(cloud) == {"micro", "old", "new"}
    facts = cloud.host.facts()
    with cloud.database.reading() as db:
        taken = db.scalar(select(func.sum(Reservation.disk_gib)))
    nine_tenths = facts.disk_gib["local"] - facts.disk_gib["local"] // 10
    with cloud.database.writing() as db:
        reservation = db.scalars(select(Reservation).where(Reservation.pool == "local")).first()
        reservation.disk_gib += nine_tenths - taken + 1
    cloud.sweep()
    assert names_on(cloud) == {"micro", "new"}
    with cloud.database.writing() as db:
        db.scalars(select(Reservation).where(Reservation.pool == "local")).first().disk_gib += 5
    cloud.sweep()
    assert names_on(cloud) == {"micro"}


def test_a_host_shows_which_images_lie_there_and_when_they_were_last_used(cloud):
    cloud.running()
    copied(cloud, "idle")
    came = cloud.clock()
    cloud.pass_time(2 * 3600)
    cloud.sweep()
    found = cloud.call(fleet.get_host, id="memory-1").images
    assert [(image.id, image.size_gib) for image in found] == [("micro", 1), ("idle", 1)]
    assert found[1].last_used_time <= came < found[0].last_used_time
    cloud.host.images.remove_copy(found[1].sha256)
    cloud.sweep()
    assert [image.id for image in cloud.call(fleet.get_host, id="memory-1").images] == ["micro"]


def test_a_copy_under_a_disk_does_not_stop_the_look(cloud, monkeypatch):
    cloud.running()
    cloud.host.images.copy(BaseImage(sha256="0" * 64, format="raw", path=Path("/nowhere"), size_gib=1))

    def refuse(sha256):
        raise HypervisorError("a disk is based on it")

    monkeypatch.setattr(cloud.host.images, "remove_copy", refuse)
    cloud.sweep()
    assert cloud.due("host", cloud.host_id).error == ""


def test_a_host_that_does_not_answer_gets_no_vms_until_it_does(cloud, row_of_the_host):
    cloud.host.unreachable = True
    cloud.sweep()
    assert (row_of_the_host().state, row_of_the_host().why) == (HostState.UP, HOST_SILENT)
    with pytest.raises(Invalid, match="1 host: no answer"):
        cloud.create()
    cloud.pass_time(15)
    assert (row_of_the_host().state, row_of_the_host().why) == (HostState.SILENT, HOST_SILENT)
    cloud.host.unreachable = False
    cloud.pass_time(15)
    assert (row_of_the_host().state, row_of_the_host().why) == (HostState.UP, "")
    assert cloud.running().state is VmState.ACTIVE


def test_a_host_that_is_no_longer_configured_gets_no_vms(cloud, row_of_the_host):
    cloud.backends = replace(cloud.backends, hosts={})
    cloud.reconciler = cloud.new_reconciler()
    cloud.sweep()
    cloud.pass_time(15)
    assert row_of_the_host().state is HostState.SILENT


def test_the_silence_of_a_host_and_its_end_are_told_once_to_who_runs_the_cloud(cloud):
    cloud.host.unreachable = True
    with capture_logs() as lines:
        cloud.sweep()
        cloud.pass_time(120)
        cloud.host.unreachable = False
        cloud.pass_time(15)
    with cloud.database.reading() as db:
        told = [(event.event, event.text) for event in events_about(db, cloud.host_id)]
    assert told == [("host.silent", f"memory-1 is SILENT: {HOST_SILENT}"), ("host.up", "memory-1 is UP")]
    changes = [line for line in lines if line["event"] == "a host changed its state"]
    assert [(line["log_level"], line["state"]) for line in changes] == [("warning", "SILENT"), ("info", "UP")]


def test_a_boot_of_a_host_is_known_by_its_boot_id(cloud, row_of_the_host):
    cloud.running()
    before = row_of_the_host().boot_id
    cloud.host.boot()
    cloud.sweep()
    assert row_of_the_host().boot_id not in {"", before}
    cloud.settle()
    assert cloud.host.machines.get(cloud.row().id).power is Power.RUNNING


def test_nothing_is_known_of_vms_whose_host_stays_away(cloud):
    cloud.running()
    cloud.host.unreachable = True
    cloud.sweep()
    assert cloud.vm().state is VmState.ACTIVE
    cloud.pass_time(15)
    assert cloud.vm().state is VmState.UNKNOWN
    cloud.host.unreachable = False
    cloud.pass_time(60)
    assert cloud.vm().state is VmState.ACTIVE


def test_a_stopped_vm_does_not_stop_again_when_its_host_comes_back(cloud):
    cloud.running()
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    told = cloud.events()
    cloud.host.unreachable = True
    cloud.sweep()
    cloud.pass_time(15)
    cloud.host.unreachable = False
    cloud.pass_time(60)
    assert cloud.vm().state is VmState.STOPPED
    assert cloud.events() == told


def test_a_machine_that_runs_without_a_definition_is_looked_at(cloud):
    cloud.running()
    vm, domain = cloud.row(), cloud.host.machines.get(cloud.row().id)
    seen = {"wanted": vm.wanted, "state": vm.state, "started": vm.started}
    assert not differs(domain, **seen)
    assert differs(replace(domain, spec_digest=""), **seen)
