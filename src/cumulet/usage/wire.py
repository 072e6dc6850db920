"""Usage and spend as JSON. The contract has only `spend/details`; the rest is ours."""

from __future__ import annotations

from datetime import datetime

from cumulet.wire import Amount, ProtoEnum, Wire


class UsageRow(Wire, kw_only=True):
    """What was used and spent; members by which nothing was grouped are empty."""

    start_time: datetime
    end_time: datetime
    kind: str
    """`vm`, `disk`, `snapshot`, `private_image` or `network`; disks that a VM has count with it."""
    id: str
    """Of the resource."""
    label: str
    """What the VM had as this label at that time."""
    item: str
    """`vcpu`, `memory`, `gpu`, `ipv4`, `storage`, `snapshot`, `image` or `network`."""
    unit: str
    """What the price is of: `hour` of one, or `GiB hour`."""
    quantity: Amount
    """How many of those; 0 where items are added up."""
    price: Amount
    """Of one of them, likewise."""
    amount: Amount
    """What that comes to."""


class UsageResponse(Wire, kw_only=True):
    """Usage of a time, and all that was spent in it."""

    start_time: datetime
    end_time: datetime
    rows: list[UsageRow]
    total: Amount
    """Added up exactly and then rounded, as each row is: the rows may differ from it in the ninth decimal."""


class SpendResponse(Wire, kw_only=True):
    """What a project spends in the month that is under way, by UTC."""

    start_time: datetime
    end_time: datetime
    """When the month ends."""
    amount: Amount
    """So far."""
    hourly_rate: Amount
    """As things are."""
    forecast: Amount
    """By the end of the month, should they stay so."""
    limit: Amount | None
    """What the project may spend in a month; null for no limit."""
    stops_vms: bool
    """Its VMs are stopped when that is reached."""


class SetSpendLimit(Wire, kw_only=True):
    """What a project may spend in a month."""

    limit: Amount | None = None
    """None for no limit."""
    stops_vms: bool = False
    """Stop its VMs when that is reached, which cost on all the same."""


class Unit(ProtoEnum):
    """`BillingAccountSpendRow.Unit`."""

    UNKNOWN = "UNIT_UNKNOWN", 0
    GIB_HOUR = "UNIT_GIB_HOUR", 1
    HOUR = "UNIT_HOUR", 2


class BillingAccountSpendRow(Wire, kw_only=True):
    """What a project of a billing account spent on one thing at one price."""

    project_id: str
    description: str
    quantity: float
    unit: Unit
    unit_amount: Amount
    amount: Amount


class GetBillingAccountSpendDetailsResponse(Wire):
    """All of that, in a time."""

    spend: list[BillingAccountSpendRow]
