"""How much a project has, counted from the rows themselves: one statement, about the quotas that matter alone.

Tables of slices above are known here by their names; what lies in them is theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Session

from cumulet.db import Row, fetch_columns
from cumulet.quotas.names import OF_MODEL
from cumulet.resource import Wanted

Amounts: TypeAlias = dict[str, ColumnElement[Any]]
PROJECT: Final[BindParameter[str]] = bindparam("project_id")


def read_use(db: Session, project_id: str, names: Iterable[str], *, staying: bool = False) -> dict[str, int]:
    """Count what a project has of each; with `staying` without what is being deleted, which has its room until it is gone."""
    wanted = tuple(sorted(names))
    (found,) = fetch_columns(db, use_of(wanted, staying=staying), project_id=project_id)
    return {name: int(amount) for name, amount in zip(wanted, found, strict=True)}


@cache
def use_of(names: tuple[str, ...], *, staying: bool) -> Select[*tuple[Any, ...]]:
    """Build the statement that counts these, in their order; each table is gone through once."""
    by_source: dict[str, Amounts] = defaultdict(dict)
    for name in names:
        source, amount = amount_of(name)
        by_source[source][name] = amount
    counted = {
        source: SOURCES[source](amounts, staying=staying).subquery() for source, amounts in by_source.items()
    }
    first, *others = counted.values()
    joined: Any = first
    for one in others:
        joined = joined.join(one, true())
    return select(*(counted[amount_of(name)[0]].c[name] for name in names)).select_from(joined)


def amount_of(name: str) -> tuple[str, ColumnElement[Any]]:
    """Say in which table a quota is counted, and how."""
    if name.startswith(OF_MODEL):
        model, gpus = (table("vm").c[column] for column in ("gpu_model_id", "gpus"))
        return "vm", total(case((model == name.removeprefix(OF_MODEL), gpus), else_=0))
    if name in {"vcpus", "memory_gib", "gpus"}:
        return "vm", total(table("vm").c[name])
    if name == "disk_gib":
        return "disk", total(table("disk").c.size_gib)
    if name == "rules":
        return "security_group", total(func.json_array_length(table("security_group").c.rules))
    return COUNTED[name], func.count()


def total(amount: ColumnElement[Any]) -> ColumnElement[Any]:
    """Add up, to 0 where there is none."""
    return func.coalesce(func.sum(amount), 0)


def table(name: str) -> Table:
    """Give a table of whichever slice."""
    return Row.metadata.tables[name]


def resources(name: str) -> Any:  # noqa: ANN401 - a function of the shape of those in SOURCES
    """Count in a table of resources."""

    def counted(amounts: Amounts, *, staying: bool) -> Select[*tuple[Any, ...]]:
        found = select_all(amounts).select_from(table(name)).where(table(name).c.project_id == PROJECT)
        return found.where(stays(name)) if staying else found

    return counted


def snapshots(amounts: Amounts, *, staying: bool) -> Select[*tuple[Any, ...]]:
    """Count snapshots of the project's disks."""
    snapshot, disk = table("snapshot"), table("disk")
    found = select_all(amounts).select_from(snapshot.join(disk, disk.c.id == snapshot.c.disk_id))
    found = found.where(disk.c.project_id == PROJECT)
    return found.where(~snapshot.c.deleting, stays("disk")) if staying else found


def external_addresses(amounts: Amounts, *, staying: bool) -> Select[*tuple[Any, ...]]:
    """Count external addresses of the project's VMs; those of its routers nobody asks for."""
    address, nic, vm = table("external_address"), table("nic"), table("vm")
    found = select_all(amounts).where(address.c.project_id == PROJECT)
    if not staying:
        return found.select_from(address)
    of_vms = vm.join(nic, nic.c.vm_id == vm.c.id).join(address, address.c.holder_id == nic.c.id)
    return found.select_from(of_vms).where(stays("vm"))


def select_all(amounts: Amounts) -> Select[*tuple[Any, ...]]:
    """Select amounts under their names."""
    return select(*(amount.label(name) for name, amount in amounts.items()))


def stays(name: str) -> ColumnElement[bool]:
    """Say which of a table of resources are not being deleted."""
    wanted = table(name).c.wanted
    if name != "disk":
        return wanted != Wanted.DELETED
    boots_what_goes = and_(table(name).c.type == "BOOT", wanted == Wanted.DETACHED)
    return ~or_(wanted == Wanted.DELETED, boots_what_goes)


COUNTED: Final = {
    "vms": "vm",
    "snapshots": "snapshot",
    "external_addresses": "external_address",
    "images": "private_image",
    "networks": "network",
}
"""What is counted by rows, and of which table."""
SOURCES: Final = {
    "snapshot": snapshots,
    "external_address": external_addresses,
    **{name: resources(name) for name in ("vm", "disk", "private_image", "network", "security_group")},
}
