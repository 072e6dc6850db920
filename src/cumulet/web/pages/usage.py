"""What a project has of what it may have, and what it spends: by day, by thing, and by the end of the month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from cumulet.errors import Invalid
from cumulet.quotas.operations import list_quotas, set_quota, unset_quota
from cumulet.quotas.wire import Quota, SetQuota
from cumulet.usage.operations import get_project_spend, get_project_usage, set_project_spend_limit
from cumulet.usage.spend import month_of
from cumulet.usage.wire import SetSpendLimit, SpendResponse, UsageRow
from cumulet.web.listings import ConnectedVm, all_vms
from cumulet.web.site import form, page
from cumulet.web.spend_chart import chart_of
from cumulet.web.visit import Gone, Shown, Visit
from cumulet.wire import decode

USAGE: Final = "/p/{project_id:str}/usage"
QUOTA: Final = f"{USAGE}/quotas/{{name:str}}"
WORDS: Final = {
    "vms": "Virtual machines",
    "vcpus": "vCPUs",
    "memory_gib": "Memory, GiB",
    "disk_gib": "Disks, GiB",
    "snapshots": "Snapshots",
    "gpus": "GPUs",
    "external_addresses": "External addresses",
    "images": "Private images",
    "networks": "Networks",
    "rules": "Rules of security groups",
}
KINDS: Final = {
    "vm": "virtual machine",
    "disk": "disk",
    "snapshot": "snapshot",
    "private_image": "private image",
    "network": "network",
}
NEARLY: Final = 80
"""Percent of a limit from which it shows as nearly reached: where the journal warns, too."""
MOST_ROWS: Final = 50
FIRST_YEAR: Final = 2000
"""Nothing is older."""


@dataclass(frozen=True, slots=True)
class Line:
    """How much there is of something, and of how much."""

    name: str
    words: str
    used: int
    limit: int | None
    is_own: bool
    percent: float
    tone: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What one thing cost."""

    name: str
    kind: str
    url: str
    amount: Decimal
    percent: float


@page(USAGE, live=True)
def usage_page(visit: Visit) -> Shown:
    """Show a month: this one, or an earlier one that the address names."""
    spend = visit.ask(get_project_spend, project_id=visit.project_id)
    start, end = month_asked(visit, spend)
    of_month = {"project_id": visit.project_id, "start_time": start, "end_time": end}
    by_day = visit.ask(get_project_usage, by=["day", "item"], **of_month)
    things = things_of(visit, visit.ask(get_project_usage, by=["resource"], **of_month).rows)
    reached = percent(Decimal(spend.amount.value), Decimal(spend.limit.value)) if spend.limit else 0
    return visit.show(
        "usage.html",
        spend=spend,
        start=start,
        is_now=start == spend.start_time,
        earlier=f"{start - timedelta(days=1):%Y-%m}",
        later=f"{end:%Y-%m}",
        total=by_day.total,
        chart=chart_of(by_day.rows, start, end),
        things=things[:MOST_ROWS],
        rest=things[MOST_ROWS:],
        reached=reached,
        reached_tone=tone_of(reached),
        quotas=[line_of(one) for one in visit.ask(list_quotas, project_id=visit.project_id).quotas],
    )


@form(f"{USAGE}/limit", on=usage_page)
def limit(visit: Visit) -> Gone:
    """Set what the project may spend in a month, or lift that."""
    amount = visit.given("limit")
    raw = {
        "limit": {"value": amount} if visit.given("lift") != "yes" else None,
        "stopsVms": visit.given("stopsVms") == "yes",
    }
    data = decode(SetSpendLimit, raw)
    visit.ask(set_project_spend_limit, project_id=visit.project_id, data=data)
    return Gone(visit.url("usage"))


@form(QUOTA, on=usage_page)
def quota(visit: Visit) -> Gone:
    """Set how much the project may have of something; nothing is no limit."""
    text = visit.given("limit")
    if not (text.isascii() and text.isdecimal()) and text:
        raise Invalid.field(visit.names["name"], text, "a whole number, or nothing for no limit")
    data = decode(SetQuota, {"limit": int(text)} if text else {"unlimited": True})
    visit.ask(set_quota, project_id=visit.project_id, name=visit.names["name"], data=data)
    return Gone(visit.url("usage"))


@form(f"{QUOTA}/unset", on=usage_page)
def usual_quota(visit: Visit) -> Gone:
    """Have the catalogue's quota count again."""
    visit.ask(unset_quota, project_id=visit.project_id, name=visit.names["name"])
    return Gone(visit.url("usage"))


def month_asked(visit: Visit, now: SpendResponse) -> tuple[datetime, datetime]:
    """Give the first instant, by UTC, of the month that the address names, and that of the next; Invalid."""
    text = visit.given("month")
    if not text:
        return now.start_time, now.end_time
    try:
        first, following = month_of(datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        first = following = now.end_time
    if first.year < FIRST_YEAR or first > now.start_time:
        raise Invalid.field("month", text, f"a month such as {now.start_time:%Y-%m}, and none to come")
    return first, following


def things_of(visit: Visit, rows: Sequence[UsageRow]) -> list[Spent]:
    """Say what each thing cost, what cost most first."""
    vms = {one.id for one in all_vms(visit, ConnectedVm)}
    amounts = sorted(((Decimal(row.amount.value), row) for row in rows), key=lambda one: -one[0])
    most = amounts[0][0] if amounts else Decimal(0)
    return [
        Spent(
            name=row.id,
            kind=KINDS.get(row.kind, row.kind),
            url=visit.url("vms", row.id) if row.kind == "vm" and row.id in vms else "",
            amount=amount,
            percent=percent(amount, most),
        )
        for amount, row in amounts
    ]


def line_of(one: Quota) -> Line:
    """Show a quota."""
    part = percent(Decimal(one.used), Decimal(one.limit)) if one.limit else 100.0 * bool(one.limit == 0)
    name = WORDS.get(one.name) or f"GPUs, {one.name.removeprefix('gpus.')}"
    return Line(one.name, name, one.used, one.limit, one.own, part, tone_of(part))


def percent(part: Decimal, whole: Decimal) -> float:
    """Say how many hundredths of something a part is, at most all."""
    return float(min(100 * part / whole, Decimal(100))) if whole else 0.0


def tone_of(reached: float) -> str:
    """Say how a bar looks that is so full, in percent."""
    return "bad" if reached >= 100 else "wait" if reached >= NEARLY else ""  # noqa: PLR2004 - all of it
