"""What usage comes to: added up by whatever one asks for, exactly, and rounded only when it is shown. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, localcontext
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from cumulet.usage.span import Charge, Span

Key = TypeVar("Key", bound=Hashable)
HOUR: Final = 3600
FINEST: Final = Decimal("1e-9")
"""To which amounts are shown: the finest that a price can be."""
EXACT: Final = Context(prec=60, traps=[Inexact])
"""Adds and multiplies without ever rounding, or raises."""
WIDE: Final = Context(prec=60)
"""Divides and rounds amounts of any size."""


class Used(NamedTuple):
    """How much of something, at one price an hour."""

    unit_seconds: int
    """Of each unit, how many seconds."""
    price: Decimal

    @property
    def hours(self) -> Decimal:
        """The same in hours of one unit, rounded."""
        return rounded_hours(Decimal(self.unit_seconds))


Costs = tuple[Sequence[Charge], Sequence[tuple[datetime, datetime | None]]]
"""What things cost alike, and of each from when until when; None: it goes on."""


class Spending(NamedTuple):
    """What a project spends."""

    spent: Decimal
    hourly: Decimal


def tally(
    spans: Iterable[Span], bounds: Sequence[datetime], key: Callable[[int, Span, Charge], Key]
) -> Mapping[Key, list[Used]]:
    """Add usage up between instants in their order; `key` says by what, of the number of a stretch between two of them."""
    sums: dict[tuple[Key, Decimal], int] = defaultdict(int)
    marks = [int(bound.timestamp()) for bound in bounds]
    for span in spans:
        for number, seconds in stretches(span, marks):
            for charge in span.charges:
                sums[key(number, span, charge), charge.price] += charge.quantity * seconds
    found: dict[Key, list[Used]] = defaultdict(list)
    for (what, price), unit_seconds in sums.items():
        found[what].append(Used(unit_seconds, price))
    return found


def stretches(span: Span, marks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Say how many seconds of a span lie between each two marks, where any do."""
    since = max(int(span.since.timestamp()), marks[0])
    until = min(int(span.until.timestamp()), marks[-1]) if span.until else marks[-1]
    for number in range(bisect_right(marks, since) - 1, bisect_left(marks, until)):
        if seconds := min(until, marks[number + 1]) - max(since, marks[number]):
            yield number, seconds


def amount(used: Iterable[Used]) -> Decimal:
    """Say what usage costs: added up exactly, then rounded."""
    return rounded_hours(added(used))


def added(used: Iterable[Used]) -> Decimal:
    """Add up exactly."""
    with localcontext(EXACT):
        return sum((one.unit_seconds * one.price for one in used), start=Decimal(0))


def rounded_hours(seconds: Decimal) -> Decimal:
    """Divide what was added up by the second, and round it to what is shown."""
    return WIDE.quantize(WIDE.divide(seconds, Decimal(HOUR)), FINEST)


def cost(spans: Iterable[Span], start: datetime, end: datetime) -> Decimal:
    """Say what was spent in a time."""
    if end <= start:
        return Decimal(0)
    return amount(tally(spans, (start, end), lambda *_: None).get(None, ()))


def spending(costs: Iterable[Costs], start: datetime, end: datetime) -> Spending:
    """Say what was spent in a time, and what an hour costs as things are: things that cost the same are counted first."""
    begins, ends = int(start.timestamp()), int(end.timestamp())
    used, each_hour = [], []
    for charges, times in costs:
        seconds = sum(max(seconds_within(begins, ends, *time), 0) for time in times)
        going_on = sum(until is None for _, until in times)
        used += [Used(charge.quantity * seconds, charge.price) for charge in charges]
        each_hour += [Used(charge.quantity * going_on, charge.price) for charge in charges]
    return Spending(amount(used), added(each_hour))


def seconds_within(begins: int, ends: int, since: datetime, until: datetime | None) -> int:
    """Say how much of a span lies between two Unix times."""
    return (min(int(until.timestamp()), ends) if until else ends) - max(int(since.timestamp()), begins)


def month_of(instant: datetime) -> tuple[datetime, datetime]:
    """Give the first instant of a month, by UTC, and that of the next."""
    first = instant.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first, (first + timedelta(days=31)).replace(day=1)


def whole_vms(spans: Sequence[Span]) -> Iterator[Span]:
    """Count the disks that VMs have with the VMs."""
    vms = {span.resource_id: span for span in spans if span.kind == "vm"}
    for span in spans:
        vm = vms.get(span.vm_id) if span.vm_id and span.kind != "vm" else None
        yield (
            msgspec.structs.replace(span, kind="vm", resource_id=vm.resource_id, name=vm.name) if vm else span
        )


def by_label(spans: Sequence[Span], label: str) -> Iterator[tuple[Span, str]]:
    """Give each span with what its VM was labelled at that time; what had no VM, or its VM no such label, with `""`."""
    changes: dict[UUID, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.since):
        if span.kind == "vm":
            changes[span.resource_id].append(span)
    for span in spans:
        for piece, vm in _pieces(span, changes.get(span.vm_id, []) if span.vm_id else []):
            yield piece, vm.labels.get(label, "") if vm else ""


def _pieces(span: Span, vm: Sequence[Span]) -> Iterator[tuple[Span, Span | None]]:
    """Cut what a VM has where the VM changed; before its first span it was as in that."""
    if span.kind == "vm" or not vm:
        yield span, span if span.kind == "vm" else None
        return
    number = max(bisect_right([one.since for one in vm], span.since) - 1, 0)
    for one, following in zip(vm[number:], [*vm[number + 1 :], None], strict=True):
        cut = following.since if following else None
        if cut is None or (span.until is not None and span.until <= cut):
            yield span, one
            return
        yield span.closed(cut), one
        span = msgspec.structs.replace(span, since=cut)
