"""Quotas as JSON; no version of the contract has them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from cumulet.limits import Most
from cumulet.wire import Wire


class Quota(Wire, kw_only=True):
    """How much a project may have of one thing, and has."""

    name: str
    """`vms`, `vcpus`, `memory_gib` and so on; `gpus.MODEL` for GPUs of one model."""
    limit: int | None
    """`null` for no limit."""
    own: bool
    """An operator set it for this project; otherwise it is what the catalogue says for all."""
    used: int
    """What is being deleted counts until it is gone."""


class ListQuotasResponse(Wire, kw_only=True):
    """All quotas of a project."""

    quotas: list[Quota]


class SetQuota(Wire, kw_only=True):
    """A project's own limit: a number, or none at all."""

    limit: Annotated[Most, Meta(examples=[10])] | None = None
    unlimited: bool = False
