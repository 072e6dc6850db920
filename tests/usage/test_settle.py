"""Usage of a made-up cloud: each resource's whole life, and how usage records follow the journal."""

from datetime import timedelta
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from tests.made_up import NOON, PROJECT

from cumulet import journal
from cumulet.disks import DiskState
from cumulet.disks import operations as disk_verbs
from cumulet.disks import snapshot_operations as snapshot_verbs
from cumulet.disks import vm_operations as vm_disk_verbs
from cumulet.disks.wire import CreateDiskSnapshot
from cumulet.due import Claim
from cumulet.events import EventName
from cumulet.journal import Event
from cumulet.networks import operations as network_verbs
from cumulet.networks.wire import CreateNetwork
from cumulet.private_images import operations as image_verbs
from cumulet.private_images.create import create_private_vm_image
from cumulet.reconcile import LeaseLost, Reconciler, Run, wake
from cumulet.resource import log_event
from cumulet.retention import forget_old
from cumulet.serve.run import FABRIC_SWEEP
from cumulet.usage import UsageRecord, settle_usage
from cumulet.usage.settle import AT_ONCE, read_costs, read_spans, read_spans_of_vm
from cumulet.usage.spend import cost, spending
from cumulet.vms import change_operations, operations
from cumulet.vms.wire import UpdateVmMetadata

HOUR = 3600
LATER = NOON + timedelta(days=3650)
VCPU, GIB, IPV4, DISK_GIB, SNAPSHOT_GIB = map(Decimal, ("0.0021", "0.0035", "0.0038", "0.000116", "0.000058"))
HELLO = 2 * VCPU + 4 * GIB + IPV4 + DISK_GIB
"""An hour of the VM that tests make: 2 vCPUs, 4 GiB, one address, 1 GiB of boot disk."""


def take_over(cloud):
    """Let the reconciler of usage run."""
    with cloud.database.writing() as db:
        wake(db, "usage", FABRIC_SWEEP, now=cloud.clock())
    cloud.run()


def spans(cloud, project_id=PROJECT):
    with cloud.database.reading() as db:
        found = read_spans(db, project_id, NOON, LATER)
        for vm_id in {one.vm_id for one in found} - {None}:
            of_vm = read_spans_of_vm(db, vm_id, project_id, LATER)
            assert in_order(of_vm) == in_order(one for one in found if one.vm_id == vm_id)
    return found


def in_order(spans):
    return sorted(spans, key=lambda one: (one.since, one.resource_id))


def spent(cloud):
    now = cloud.clock()
    with cloud.database.reading() as db:
        spent = spending(read_costs(db, PROJECT, NOON, now), NOON, now).spent
        assert spent == cost(read_spans(db, PROJECT, NOON, now), NOON, now)
    return spent


def rate(cloud):
    """What an hour costs as things are."""
    with cloud.database.reading() as db:
        return spending(read_costs(db, PROJECT, NOON, LATER), NOON, LATER).hourly


def records(cloud):
    with cloud.database.reading() as db:
        return db.scalars(select(UsageRecord).order_by(UsageRecord.since, UsageRecord.kind)).all()


@pytest.fixture
def running(cloud):
    """A VM that has just begun to cost."""
    cloud.create()
    cloud.settle()
    cloud.clock.now = cloud.clock.now.replace(microsecond=0)
    return cloud


def begun(cloud):
    """When its machine was first seen to run."""
    return next(span.since for span in spans(cloud) if span.kind == "vm")


def test_an_hour_of_a_vm_costs_what_its_price_says(running):
    running.clock.now = begun(running) + timedelta(hours=1)
    price = running.vm().price.total_price_hr.value
    assert (spent(running), Decimal(price)) == (HELLO, HELLO)


def test_a_stopped_vm_costs_on_and_another_size_costs_from_when_it_was_asked_for(running):
    running.ask(operations.stop_vm)
    running.settle()
    running.clock.now = begun(running) + timedelta(hours=1)
    running.call(change_operations.resize_vm, project_id=PROJECT, id="hello", vcpus=1, memory_gib=8)
    running.settle()
    running.clock.now = begun(running) + timedelta(hours=3)
    assert spent(running) == HELLO + 2 * (HELLO - VCPU + 4 * GIB)


def test_a_vm_and_its_boot_disk_cost_nothing_from_the_request_to_delete_them(running):
    running.clock.now = begun(running) + timedelta(hours=1)
    running.ask(operations.terminate_vm)
    running.clock.advance(HOUR)
    assert spent(running) == HELLO
    running.settle()
    running.clock.advance(HOUR)
    assert (spent(running), rate(running)) == (HELLO, 0)


def test_a_vm_that_expires_costs_until_then(cloud):
    cloud.create(ttl="3600s")
    cloud.settle()
    cloud.pass_time(2 * HOUR)
    (vm,) = (span for span in spans(cloud) if span.kind == "vm")
    assert vm.until == NOON + timedelta(hours=1)


def test_a_vm_that_never_starts_costs_nothing(cloud):
    cloud.create(vm_id="hello")
    cloud.ask(operations.terminate_vm)
    cloud.settle()
    cloud.clock.advance(HOUR)
    assert spent(cloud) == 0


def test_a_disk_costs_from_its_create_to_the_request_to_delete_it_in_a_vm_or_not(running):
    began = begun(running)
    running.create_disk(size_gib=10)
    running.clock.now = began + timedelta(hours=1)
    running.call(vm_disk_verbs.attach_storage_disk, project_id=PROJECT, id="data", vm_id="hello")
    running.settle()
    running.clock.now = began + timedelta(hours=2)
    assert Decimal(running.vm().price.total_price_hr.value) == HELLO + 10 * DISK_GIB == rate(running)
    running.call(vm_disk_verbs.resize_vm_disk, project_id=PROJECT, id="hello", disk_id="data", size_gib=20)
    running.settle()
    running.clock.now = began + timedelta(hours=3)
    running.ask(operations.terminate_vm)
    running.settle()
    running.clock.now = began + timedelta(hours=4)
    running.ask(disk_verbs.delete_storage_disk, "data")
    running.settle()
    running.clock.now = began + timedelta(hours=5)
    of_disk = sorted((one for one in spans(running) if one.name == "data"), key=lambda span: span.since)
    held = [(one.vm_id is not None, one.charges[0].quantity) for one in of_disk]
    assert held == [(False, 10), (True, 10), (True, 20), (False, 20)]
    assert [one.until - began for one in of_disk] == [
        timedelta(hours=1),
        timedelta(hours=2),
        timedelta(hours=3),
        timedelta(hours=4),
    ]
    assert cost(of_disk, began, LATER) == 60 * DISK_GIB


def snapshot(cloud, name="one", id="data"):
    data = CreateDiskSnapshot(snapshot_id=name)
    cloud.call(snapshot_verbs.create_disk_snapshot, project_id=PROJECT, id=id, data=data)
    cloud.settle()


def test_a_snapshot_costs_by_its_disk_s_size_until_it_or_the_disk_is_to_go(cloud):
    cloud.used_disk(size_gib=10)
    snapshot(cloud, "one")
    snapshot(cloud, "two")
    assert rate(cloud) == 10 * DISK_GIB + 20 * SNAPSHOT_GIB
    cloud.call(snapshot_verbs.delete_disk_snapshot, project_id=PROJECT, id="data", snapshot_id="one")
    assert rate(cloud) == 10 * DISK_GIB + 10 * SNAPSHOT_GIB
    cloud.settle()
    cloud.ask(disk_verbs.delete_storage_disk, "data")
    assert rate(cloud) == 0
    cloud.settle()
    assert rate(cloud) == 0


def test_an_image_costs_from_when_it_is_ready_until_it_is_to_go(running):
    before = rate(running)
    running.call(create_private_vm_image, project_id=PROJECT, vm_id="hello", id="golden")
    assert rate(running) == before
    running.settle()
    assert rate(running) == before + SNAPSHOT_GIB
    running.ask(image_verbs.delete_private_vm_image, "golden")
    assert rate(running) == before
    running.settle()
    assert rate(running) == before


def test_a_network_costs_from_when_it_is_active_until_it_is_to_go(cloud):
    data = CreateNetwork(id="lan", data_center_id="local", ip_range="10.1.0.0/24")
    cloud.call(network_verbs.create_network, project_id=PROJECT, data=data)
    assert spans(cloud) == []
    cloud.settle()
    (active,) = spans(cloud)
    assert (active.kind, active.name, active.until) == ("network", "lan", None)
    cloud.clock.advance(HOUR)
    cloud.ask(network_verbs.delete_network, "lan")
    (ended,) = spans(cloud)
    assert ended.until - ended.since == timedelta(hours=1)


def test_a_lost_disk_costs_nothing_until_it_is_found(cloud):
    cloud.used_disk(size_gib=10)
    row = cloud.disk_row()
    for name, state, price in (
        (EventName.DISK_LOST, DiskState.ERROR, 0),
        (EventName.DISK_FOUND, DiskState.READY, 10 * DISK_GIB),
    ):
        row.state = state
        with cloud.database.writing() as db:
            log_event(db, row, name, "so it is", now=cloud.clock())
        assert rate(cloud) == price
        cloud.clock.advance(HOUR)


def test_labels_are_those_of_the_time(running):
    running.call(
        change_operations.update_vm_metadata,
        project_id=PROJECT,
        id="hello",
        data=UpdateVmMetadata(metadata={"team": "red"}),
    )
    running.clock.advance(HOUR)
    assert [span.labels for span in spans(running) if span.kind == "vm"][-1] == {"team": "red"}


def test_usage_is_the_same_before_and_after_it_is_taken_over_at_any_moment_of_a_life(cloud):
    def same():
        before, was = comparable(spans(cloud)), spent(cloud)
        for _ in range(2):
            take_over(cloud)
            assert (comparable(spans(cloud)), spent(cloud)) == (before, was)
        return was

    cloud.used_disk(size_gib=10)
    seen = [same()]
    cloud.running()
    seen.append(same())
    snapshot(cloud)
    cloud.clock.advance(HOUR)
    seen.append(same())
    cloud.ask(operations.stop_vm)
    cloud.settle()
    cloud.clock.advance(HOUR)
    seen.append(same())
    cloud.ask(operations.terminate_vm)
    seen.append(same())
    cloud.settle()
    cloud.clock.advance(HOUR)
    seen.append(same())
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]


def comparable(found):
    return sorted((one.kind, one.name, one.since, str(one)) for one in found)


def test_what_is_in_the_records_does_not_bill_any_more_and_may_be_forgotten(running):
    running.clock.now += timedelta(hours=1)
    take_over(running)
    before = spent(running)
    with running.database.reading() as db:
        assert before > 0
        assert not db.scalars(select(Event).where(Event.bills)).all()
    old = partial(forget_old, forget=journal.forget, kept_for=timedelta(days=1))
    forgetting = Reconciler(running.database, {"journal": old}, clock=running.clock)
    with running.database.writing() as db:
        db.execute(update(Event).values(at=NOON - timedelta(days=2)))
        wake(db, "journal", FABRIC_SWEEP, now=running.clock())
    forgetting.run_due()
    assert (running.count(Event), spent(running)) == (
        1,
        before,
    )  # the newest stays, lest its number come again


def test_who_finds_nothing_told_asks_for_no_lock(running):
    take_over(running)
    claim = Claim("usage", FABRIC_SWEEP, lease=uuid4(), wakes=1, attempts=0)
    run = Run(running.database, claim, running.clock())
    settle_usage(run)
    running.create(vm_id="second")
    running.settle()
    with pytest.raises(LeaseLost):  # which only a transaction that writes looks for
        settle_usage(run)


def test_more_than_fits_a_transaction_is_taken_over_in_parts(running):
    vm = running.row()
    with running.database.writing() as db:
        for number in range(2 * AT_ONCE + 1):
            vm.labels = {"number": str(number)}
            running.clock.advance(1)
            log_event(db, vm, EventName.VM_METADATA_CHANGED, "again", now=running.clock())
    before = sorted((one.since, one.name) for one in spans(running))
    take_over(running)
    running.pass_time(5)
    assert sorted((one.since, one.name) for one in spans(running)) == before
    with running.database.reading() as db:
        assert not db.scalars(select(Event).where(Event.bills)).all()


def test_when_all_has_gone_nothing_costs_any_more(cloud):
    cloud.used_disk(size_gib=10)
    snapshot(cloud)
    cloud.running(storage_disk_ids=["data"])
    cloud.call(create_private_vm_image, project_id=PROJECT, vm_id="hello", id="golden")
    cloud.settle()
    cloud.ask(operations.terminate_vm)
    cloud.settle()
    cloud.ask(disk_verbs.delete_storage_disk, "data")
    cloud.ask(image_verbs.delete_private_vm_image, "golden")
    cloud.ask(network_verbs.delete_network, "default-local")
    cloud.settle()
    take_over(cloud)
    assert records(cloud)
    assert [one.name for one in records(cloud) if one.until is None] == []


def test_each_project_pays_for_its_own(running):
    assert spans(running, "another") == []
