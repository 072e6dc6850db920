"""What there are quotas of, each under one name: in the catalogue, in the API and on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Final

from cumulet.errors import NotFound
from cumulet.limits import Quotas

OF_MODEL: Final = "gpus."
"""Before the id of a GPU model: GPUs of that model alone."""
SIMPLE: Final = tuple(one.name for one in fields(Quotas) if one.name != "gpus_by_model")
Limits = Mapping[str, int | None]
"""None is no limit."""


def names_of(gpu_models: Iterable[str]) -> tuple[str, ...]:
    """Name all quotas that there are beside these GPU models."""
    return (*SIMPLE, *(OF_MODEL + id for id in gpu_models))


def check_name(name: str, gpu_models: Iterable[str]) -> None:
    """Return if there is a quota of that name; NotFound."""
    known = names_of(gpu_models)
    if name not in known:
        raise NotFound.named("quota", name, known)


def limit_of(name: str, own: Limits, others: Quotas) -> int | None:
    """Give a project's limit: its own, or what counts for all that have none; None for no limit."""
    if name in own:
        return own[name]
    if name.startswith(OF_MODEL):
        return others.gpus_by_model.get(name.removeprefix(OF_MODEL))
    limit: int | None = getattr(others, name)
    return limit
