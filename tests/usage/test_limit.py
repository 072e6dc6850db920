"""What a project may spend in a month."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from tests.made_up import PROJECT
from tests.projects.people import add_user
from tests.usage.test_settle import HELLO, begun, take_over

from cumulet.disks import operations as disk_verbs
from cumulet.disks import vm_operations as vm_disk_verbs
from cumulet.disks.wire import CreateStorageDisk
from cumulet.errors import Forbidden, Invalid, Refused
from cumulet.journal import Event
from cumulet.networks import operations as network_verbs
from cumulet.networks.wire import CreateNetwork
from cumulet.private_images.create import create_private_vm_image
from cumulet.projects import Role
from cumulet.serve.run import FABRIC_SWEEP
from cumulet.usage import limit
from cumulet.usage import operations as verbs
from cumulet.usage.wire import SetSpendLimit
from cumulet.vm_record import VmState
from cumulet.vms import change_operations, operations
from cumulet.wire import Amount


def set_limit(cloud, limit, caller=None, **more):
    data = SetSpendLimit(limit=None if limit is None else Amount(str(limit)), **more)
    return cloud.call(verbs.set_project_spend_limit, caller, project_id=PROJECT, data=data)


def told(cloud):
    with cloud.database.reading() as db:
        return list(db.scalars(select(Event.event).where(Event.subject == "project").order_by(Event.id)))


def look(cloud, hours):
    """Look at limits when so many hours have passed."""
    cloud.clock.now = begun(cloud) + timedelta(hours=hours)
    take_over(cloud)


@pytest.fixture
def spending(cloud):
    """A cloud with a VM that may cost ten hours of itself in a month; usage is looked after."""
    cloud.create()
    cloud.settle()
    cloud.clock.now = begun(cloud)
    set_limit(cloud, 10 * HELLO)
    take_over(cloud)
    return cloud


def test_owners_are_warned_once_at_80_percent_and_told_at_100(spending):
    seen = []
    for hours in (7.9, 8.1, 9.9, 10.1, 12):
        look(spending, hours)
        seen.append(told(spending))
    warned, reached = "project.spend_warned", "project.spend_reached"
    assert seen == [[], [warned], [warned], [warned, reached], [warned, reached]]


@pytest.mark.parametrize("share", [8, 10])
def test_the_next_look_is_in_the_second_in_which_it_will_be_so(spending, share):
    look(spending, share - 0.01)
    due = spending.due("usage", FABRIC_SWEEP).due_at
    so = begun(spending) + timedelta(hours=share)
    assert so <= due <= so + timedelta(seconds=2)


CREATES = {
    "a VM": lambda cloud: cloud.create(vm_id="more"),
    "a disk": lambda cloud: cloud.call(
        disk_verbs.create_storage_disk,
        project_id=PROJECT,
        data=CreateStorageDisk(data_center_id="local", id="more", size_gib=1),
    ),
    "an image": lambda cloud: cloud.call(
        create_private_vm_image, project_id=PROJECT, vm_id="hello", id="more"
    ),
    "a network": lambda cloud: cloud.call(
        network_verbs.create_network,
        project_id=PROJECT,
        data=CreateNetwork(id="more", data_center_id="local", ip_range="10.1.0.0/24"),
    ),
    "a larger disk": lambda cloud: cloud.call(
        vm_disk_verbs.resize_vm_disk, project_id=PROJECT, id="hello", disk_id="hello-boot", size_gib=9
    ),
}


@pytest.mark.parametrize("create", CREATES.values(), ids=CREATES)
def test_nothing_more_is_created_until_it_is_raised(spending, create):
    look(spending, 10.1)
    with pytest.raises(Refused, match="has reached its spend limit for this month") as refusal:
        create(spending)
    assert refusal.value.reason == "BILLING_ACCOUNT_BLOCKED"
    set_limit(spending, 100 * HELLO)
    create(spending)


def test_the_next_month_begins_anew(spending):
    look(spending, 10.1)
    spending.clock.now = datetime(2026, 4, 1, 0, 2, tzinfo=UTC)
    take_over(spending)
    spending.create(vm_id="more")


def test_a_limit_that_is_lifted_or_was_reached_when_it_is_set_counts_at_once(spending):
    look(spending, 2)
    spend = set_limit(spending, HELLO)
    assert (spend.limit.value, spend.stops_vms) == (str(HELLO), False)
    with pytest.raises(Refused):
        spending.create(vm_id="more")
    assert set_limit(spending, None).limit is None
    spending.create(vm_id="more")


def test_amounts_are_told_to_programs_without_exponents(spending):
    set_limit(spending, 0)
    look(spending, 1)
    set_limit(spending, "0.0000001")
    with spending.database.reading() as db:
        none, little = db.scalars(select(Event.data).where(Event.event == "project.spend_reached")).all()
    assert (none["spent"], little["limit"]) == ("0", "0.0000001")


def test_vms_are_stopped_where_that_is_asked_for_and_can_be_made_smaller(spending):
    set_limit(spending, 10 * HELLO, stops_vms=True)
    look(spending, 9.9)
    assert spending.vm().state is VmState.ACTIVE
    look(spending, 10.1)
    spending.settle()
    assert spending.vm().state is VmState.STOPPED
    with pytest.raises(Refused, match="has reached its spend limit") as refusal:
        spending.ask(operations.start_vm)
    assert refusal.value.reason == "BILLING_ACCOUNT_BLOCKED"
    spending.call(change_operations.resize_vm, project_id=PROJECT, id="hello", vcpus=1)
    set_limit(spending, 100 * HELLO, stops_vms=True)
    spending.ask(operations.start_vm)


@pytest.mark.parametrize("limit", ["", "-1", "much", "1e3", "1.0000000001", "NaN"])
def test_what_is_no_amount_is_refused(spending, limit):
    with pytest.raises(Invalid, match=r"limit\.value"):
        set_limit(spending, limit)


def test_only_owners_set_it(spending):
    with spending.database.writing() as db:
        editor = add_user(db, "ed", default=Role.EDITOR)
    with pytest.raises(Forbidden):
        set_limit(spending, Decimal(1), editor)


def test_nobody_waits_for_a_lock_where_nothing_is_new(spending, monkeypatch):
    calls = []
    real = limit.check_limit
    monkeypatch.setattr(limit, "check_limit", lambda *args, **more: calls.append(1) or real(*args, **more))
    monkeypatch.setattr(limit, "stop_vms", lambda *_, **__: calls.append(2))
    for hours in (1, 2, 8.1, 8.2, 9.9, 10.1, 12):
        look(spending, hours)
    assert calls == [1, 1]
    assert told(spending) == ["project.spend_warned", "project.spend_reached"]
