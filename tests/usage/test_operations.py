"""Usage and spend as they are asked for."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update
from tests.made_up import PROJECT
from tests.usage.test_settle import DISK_GIB, GIB, HELLO, IPV4, VCPU, begun, take_over

from cumulet.errors import Invalid, NotFound
from cumulet.projects.model import Project
from cumulet.usage import operations as verbs
from cumulet.usage import settle
from cumulet.vms import operations


@pytest.fixture
def an_hour(cloud):
    """A cloud with a VM that has cost something for an hour, seen at 13:00 or a moment later; it began at noon."""
    cloud.create(metadata={"team": "red"})
    cloud.settle()
    cloud.clock.now = begun(cloud) + timedelta(hours=1)
    return cloud


def usage(cloud, **query):
    return cloud.call(verbs.get_project_usage, project_id=PROJECT, **query)


def value(amount):
    return Decimal(amount.value)


def test_usage_is_told_by_resource_with_disks_in_their_vm(an_hour):
    answer = usage(an_hour)
    assert [(row.kind, row.id, value(row.amount)) for row in answer.rows] == [
        ("network", "default-local", 0),
        ("vm", "hello", HELLO),
    ]
    assert value(answer.total) == HELLO
    assert (answer.start_time, answer.end_time) == (datetime(2026, 3, 1, tzinfo=UTC), an_hour.clock())


def test_usage_is_told_by_item_and_price(an_hour):
    rows = usage(an_hour, by=["item"]).rows
    told = {row.item: (value(row.quantity), row.unit, value(row.price), value(row.amount)) for row in rows}
    assert told == {
        "vcpu": (2, "hour", VCPU, 2 * VCPU),
        "memory": (4, "GiB hour", GIB, 4 * GIB),
        "ipv4": (1, "hour", IPV4, IPV4),
        "storage": (1, "GiB hour", DISK_GIB, DISK_GIB),
        "network": (1, "hour", 0, 0),
    }


def test_usage_is_told_by_label_of_the_vm(an_hour):
    rows = usage(an_hour, by=["label"], label="team").rows
    assert [(row.label, value(row.amount)) for row in rows] == [("", 0), ("red", HELLO)]


@pytest.mark.parametrize(("interval", "parts"), [("hour", 2), ("day", 1), ("month", 1)])
def test_the_parts_of_a_time_add_up(an_hour, interval, parts):
    an_hour.clock.advance(1800)
    answer = usage(an_hour, by=[interval])
    assert len(answer.rows) == parts
    assert sum(value(row.amount) for row in answer.rows) == value(answer.total) == HELLO * Decimal("1.5")


def test_only_the_time_that_is_asked_for_is_told_and_none_to_come(an_hour):
    began = begun(an_hour)
    half = usage(an_hour, start_time=began + timedelta(minutes=30), end_time=began + timedelta(days=9))
    assert value(half.total) == HELLO / 2
    assert half.end_time == an_hour.clock()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"by": ["week"]}, "by: 'week' is not accepted"),
        ({"by": ["day", "hour"]}, "by: 'day, hour' is not accepted"),
        ({"by": ["label"]}, "label: '' is not accepted"),
        ({"label": "team"}, "label: 'team' is not accepted"),
        ({"start_time": datetime(2027, 1, 1, tzinfo=UTC)}, "startTime"),
        ({"by": ["hour"], "start_time": datetime(2020, 1, 1, tzinfo=UTC)}, "at most 1000 intervals"),
    ],
    ids=str,
)
def test_what_cannot_be_told_is_refused(an_hour, query, field):
    with pytest.raises(Invalid) as refusal:
        usage(an_hour, **query)
    assert field in refusal.value.message


def test_the_month_is_told_with_its_rate_and_what_it_will_come_to(an_hour):
    spend = an_hour.call(verbs.get_project_spend, project_id=PROJECT)
    seconds = int((spend.end_time - an_hour.clock()).total_seconds())
    assert (value(spend.amount), value(spend.hourly_rate)) == (HELLO, HELLO)
    forecast = HELLO + (HELLO * seconds / 3600).quantize(Decimal("1e-9"))
    assert (value(spend.forecast), spend.end_time) == (forecast, datetime(2026, 4, 1, tzinfo=UTC))


def test_what_a_vm_cost_so_far_is_told_with_its_disks(an_hour):
    an_hour.create(vm_id="other")
    an_hour.settle()
    before = value(an_hour.ask(verbs.get_vm_usage, "hello").total)
    an_hour.clock.advance(3600)
    take_over(an_hour)
    assert value(an_hour.ask(verbs.get_vm_usage, "hello").total) - before == HELLO


def test_for_what_a_vm_cost_no_other_vm_is_looked_at(an_hour, monkeypatch):
    looked_at = []
    read = settle.span_of
    monkeypatch.setattr(settle, "span_of", lambda row: looked_at.append(read(row)) or looked_at[-1])
    for name in ("one", "two"):
        an_hour.create(vm_id=name)
    an_hour.settle()
    take_over(an_hour)
    looked_at.clear()
    an_hour.ask(verbs.get_vm_usage, "hello")
    assert {span.name for span in looked_at} == {"hello", "hello-boot"}


def test_a_vm_that_was_just_asked_for_cost_nothing(cloud):
    cloud.create()
    assert an_empty(cloud.ask(verbs.get_vm_usage, "hello"))


def an_empty(answer):
    return (answer.rows, answer.total.value) == ([], "0")


def test_a_project_is_not_told_what_one_used_that_had_its_id_before(an_hour):
    an_hour.ask(operations.terminate_vm)
    an_hour.settle()
    an_hour.clock.advance(60)
    with an_hour.database.writing() as db:
        db.execute(update(Project).values(created_at=an_hour.clock()))
    an_hour.clock.advance(60)
    assert value(usage(an_hour).total) == 0


def test_the_spend_of_a_billing_account_is_told_as_the_contract_has_it(an_hour):
    times = {"start_time": begun(an_hour), "end_time": an_hour.clock()}
    answer = an_hour.call(verbs.get_billing_account_spend_details, billing_account_id="default", **times)
    told = {
        row.description: (row.project_id, row.quantity, row.unit.value, value(row.amount))
        for row in answer.spend
    }
    assert told["vm hello: memory"] == (PROJECT, 4.0, "UNIT_GIB_HOUR", 4 * GIB)
    assert told["disk hello-boot: storage"] == (PROJECT, 1.0, "UNIT_GIB_HOUR", DISK_GIB)
    with pytest.raises(NotFound, match="billing account 'another'"):
        an_hour.call(verbs.get_billing_account_spend_details, billing_account_id="another", **times)
