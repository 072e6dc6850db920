"""Reading the replica of OVN's database: its rows by owner, and their columns quickly.

python-ovs builds and checks a column's value anew at each look, some 30 µs for every row in a set, and its indexes break
when a transaction changes an indexed column. So this one file looks behind its public face, at the values it keeps.
"""

# ruff: noqa: SLF001 - that is what it is for

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from uuid import UUID

from ovs.db.data import Atom
from ovs.db.types import UuidType

Row: TypeAlias = Any
"""ovs.db.idl.Row: a column is an attribute; sets are lists, maps are dicts."""
Tables: TypeAlias = Mapping[str, Any]

INSTALLATION: Final = "cumulet-installation"
ID: Final = "cumulet-id"
PART: Final = "cumulet-part"
SPEC: Final = "cumulet-spec"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom rows belong to: a router, network, port or group (its id) or a way out (its bridge) of an installation."""

    installation: str
    id: str


class Contents:
    """The replica's rows, by table and by owner."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._by_owner: dict[Owner, set[tuple[str, UUID]]] = {}

    def note(self, row: Row) -> None:
        """Remember whose a new or changed row is."""
        owner = owner_of(row)
        if owner:
            self._by_owner.setdefault(owner, set()).add((table_of(row), row.uuid))

    def forget(self, row: Row) -> None:
        """Forget a row that is gone."""
        owner = owner_of(row)
        if owner in self._by_owner:
            self._by_owner[owner].discard((table_of(row), row.uuid))
            if not self._by_owner[owner]:
                del self._by_owner[owner]

    def owned(self, owner: Owner) -> list[Row]:
        """An owner's rows."""
        noted = (self.tables[table].rows.get(uuid) for table, uuid in self._by_owner.get(owner, ()))
        return [row for row in noted if row is not None and owner_of(row) == owner]


def owner_of(row: Row) -> Owner | None:
    """Whose a row is; None for what no installation of ours made."""
    installation, id = mark(row, INSTALLATION), mark(row, ID)
    return Owner(installation, id) if installation and id else None


def table_of(row: Row) -> str:
    """The name of a row's table."""
    return str(row._table.name)


def value_of(row: Row, column: str) -> object:
    """A column's value, like the attribute."""
    if row._changes or row._mutations:
        return getattr(row, column)
    return row._data[column].to_python(row._uuid_to_row)


def map_of(row: Row, column: str) -> dict[str, str]:
    """A column's value where it is a map of strings."""
    return {key.value: value.value for key, value in _datum(row, column).items()}


def mark(row: Row, key: str) -> str:
    """One of a row's external_ids; empty when it is not there."""
    value = _datum(row, "external_ids").get(Atom.new(key))
    return str(value.value) if value else ""


def held_by(row: Row, column: str) -> set[UUID]:
    """The rows that a column holds, with what the transaction has put in and taken out."""
    put_in = row._mutations.get("_inserts", {}).get(column, ())
    taken_out = row._mutations.get("_removes", {}).get(column, ())
    held = {atom.value for atom in _datum(row, column)} | {each.uuid for each in put_in}
    return held - {each.uuid for each in taken_out}


def holds(row: Row, column: str, member: Row) -> bool:
    """Whether a column holds a row, likewise: without a look at its other members."""
    if member in row._mutations.get("_inserts", {}).get(column, ()):
        return True
    if member in row._mutations.get("_removes", {}).get(column, ()):
        return False
    return Atom(UuidType, member.uuid) in _datum(row, column)


def _datum(row: Row, column: str) -> Mapping[Any, Any]:
    """A column's atoms: the members of a set as keys, those of a map with their values."""
    datum = row._changes.get(column) or (row._data or {}).get(column)
    return datum.values if datum else {}
