"""Usage and what it comes to: pure, beside a recomputation that goes through every second."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.usage.histories import BEGIN, SECONDS, histories, naive_cost, told_of

from cumulet.events import VmData
from cumulet.usage.span import Charge, Item, Span, Told, spans_of
from cumulet.usage.spend import amount, by_label, cost, month_of, rounded_hours, spending, tally, whole_vms

VM, DISK = UUID(int=1), UUID(int=2)
LASTS = timedelta(seconds=SECONDS)


def at(second):
    return BEGIN + timedelta(seconds=second)


def spans_in(told):
    subjects = dict.fromkeys(one.subject_id for one in told)
    return [
        span
        for subject in subjects
        for span in spans_of(None, [one for one in told if one.subject_id == subject])
    ]


def span(kind="vm", id=VM, *, since=0, until=SECONDS, labels=(), price="1", vm_id=VM, name="web"):
    return Span(
        project_id="default",
        kind=kind,
        resource_id=id,
        name=name,
        vm_id=vm_id,
        labels=dict(labels),
        charges=(Charge(Item.VCPU, 1, Decimal(price)),),
        since=at(since),
        until=None if until is None else at(until),
    )


@pytest.fixture
def a_vm():
    def told(event, second, **facts):
        right = {
            "name": "web",
            "data_center_id": "local",
            "machine_type": "standard",
            "state": "ACTIVE",
            "vcpus": 1,
            "memory_gib": 1,
            "vcpu_price": Decimal(1),
            "memory_gib_price": Decimal(1),
            "ipv4_price": Decimal(1),
        }
        return Told(VM, at(second), event, "default", msgspec.to_builtins(VmData(**(right | facts))))

    return told


@settings(deadline=None)
@given(histories(), st.integers(0, SECONDS), st.integers(0, SECONDS))
def test_what_was_spent_is_what_every_second_of_every_resource_comes_to(told, one, other):
    start, end = sorted((one, other))
    assert cost(spans_in(told), at(start), at(end)) == rounded_hours(naive_cost(told, start, end))


@settings(deadline=None)
@given(histories(), st.lists(st.integers(1, SECONDS - 1), max_size=5))
def test_the_parts_of_a_time_add_up_to_the_whole_wherever_it_is_cut(told, cuts):
    bounds = [at(second) for second in [0, *sorted(set(cuts)), SECONDS]]
    spans = spans_in(told)
    parts = tally(spans, bounds, lambda number, *_: number)
    whole = tally(spans, (bounds[0], bounds[-1]), lambda *_: "all")
    together = [used for of_one in parts.values() for used in of_one]
    exact = sum(used.unit_seconds * used.price for used in together)
    assert exact == sum(used.unit_seconds * used.price for used in whole.get("all", ()))
    assert amount(together) == cost(spans, bounds[0], bounds[-1])
    costs = [(one.charges, [(one.since, one.until)]) for one in spans]
    assert amount(together) == spending(costs, bounds[0], bounds[-1]).spent


@settings(deadline=None)
@given(told_of("vm", VM), st.data())
def test_usage_is_the_same_in_whatever_pieces_its_events_are_taken_over(told, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(told)), max_size=4)))
    taken, going_on = [], None
    for start, end in pairwise([0, *cuts, len(told)]):
        spans = list(spans_of(going_on, told[start:end]))
        going_on = spans.pop() if spans and spans[-1].until is None else None
        taken += spans
    assert [*taken, *([going_on] if going_on else [])] == list(spans_of(None, told))


@settings(deadline=None)
@given(told_of("disk", DISK))
def test_the_spans_of_a_resource_follow_each_other_and_only_the_last_may_go_on(told):
    spans = list(spans_of(None, told))
    for one, following in pairwise(spans):
        assert one.since < one.until <= following.since


def test_an_event_whose_server_has_an_earlier_clock_begins_where_the_one_before_did(a_vm):
    began, resized = a_vm("vm.started", 10, vcpus=1), a_vm("vm.resize_requested", 4, vcpus=2)
    (only,) = spans_of(None, [began, resized])
    assert (only.since, only.charges[0].quantity) == (at(10), 2)


def test_what_never_ran_costs_nothing_and_what_is_to_go_costs_nothing_any_more(a_vm):
    life = [a_vm("vm.terminate_requested", 5), a_vm("vm.deleted", 9)]
    assert list(spans_of(None, life)) == []
    (ran,) = spans_of(None, [a_vm("vm.started", 1), *life])
    assert (ran.since, ran.until) == (at(1), at(5))


def test_a_bill_is_added_up_exactly_and_rounded_once():
    thirds = [span(price="0.000000001", until=1) for _ in range(3600)]
    assert cost(thirds, at(0), at(1)) == Decimal("0.000000001")
    assert cost(thirds[:1], at(0), at(1)) == 0


def test_the_dearest_that_can_be_is_still_exact():
    most = span(price="999999.99999999999", until=None)
    charge = Charge(Item.GPU, 10**9, most.charges[0].price)
    years = (at(0), at(0) + timedelta(days=3650))
    dearest = msgspec.structs.replace(most, charges=(charge,))
    assert cost([dearest], *years) == Decimal(87599999999999999124)


def test_the_rate_is_of_what_goes_on():
    going_on, over = span(price="2", until=None), span(price="3", until=5)
    costs = [(one.charges, [(one.since, one.until)]) for one in (going_on, over)]
    assert spending(costs, BEGIN, BEGIN + LASTS).hourly == 2


def test_a_disk_counts_with_its_vm_and_by_itself_without():
    disk = span("disk", DISK, name="data", price="3")
    alone = span("disk", UUID(int=3), name="other", vm_id=None)
    counted = [(one.kind, one.name) for one in whole_vms([span(), disk, alone])]
    assert counted == [("vm", "web"), ("vm", "web"), ("disk", "other")]
    assert [one.name for one in whole_vms([disk])] == ["data"]


def test_what_a_vm_has_is_labelled_as_the_vm_was_at_that_time():
    vm = [
        span(since=10, until=50, labels={"team": "red"}),
        span(since=50, until=100, labels={"team": "blue"}),
    ]
    disk = span("disk", DISK, since=5, until=120)
    alone = span("disk", UUID(int=3), vm_id=None)
    found = [
        (one.resource_id, one.since, one.until, value) for one, value in by_label([*vm, disk, alone], "team")
    ]
    assert found == [
        (VM, at(10), at(50), "red"),
        (VM, at(50), at(100), "blue"),
        (DISK, at(5), at(50), "red"),
        (DISK, at(50), at(120), "blue"),
        (UUID(int=3), at(0), at(SECONDS), ""),
    ]


@settings(deadline=None)
@given(histories())
def test_labels_change_nothing_of_what_was_spent(told):
    spans = spans_in(told)
    labelled = [one for one, _ in by_label(spans, "team")]
    assert cost(labelled, BEGIN, BEGIN + LASTS) == cost(spans, BEGIN, BEGIN + LASTS)


def test_months_are_those_of_utc():
    first, following = month_of(BEGIN.replace(month=12, day=31, hour=23))
    assert (first, following) == (BEGIN.replace(month=12), BEGIN.replace(year=2027, month=1))
