"""Reading the replica of OVN's database: its rows by owner, and their columns quickly.

python-ovs builds and checks a column's value anew at each look, some 30 µs for every row in a set, and its indexes break
when a transaction changes an indexed column. So this one file looks behind its public face, at the values it keeps.
"""

# ruff: noqa: SLF001 - that is what it is for

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias
from uuid import UUID

from ovs.db.data import Atom
from ovs.db.types import UuidType

Row: TypeAlias = Any
"""ovs.db.idl.Row: a column is an attribute; sets are lists, maps are dicts."""
RowKey: TypeAlias = tuple[str, UUID]
"""A row's table and uuid."""
Columns: TypeAlias = Mapping[str, Any]
"""Some of a row's columns with their values, as the attributes have them; rows where a column holds rows."""
Tables: TypeAlias = Mapping[str, Any]

INSTALLATION: Final = "cumulet-installation"
ID: Final = "cumulet-id"
PART: Final = "cumulet-part"
SPEC: Final = "cumulet-spec"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom rows belong to: a router, network, port or group (its id) or an uplink (its bridge) of an installation."""

    installation: str
    id: str


class Contents:
    """The replica's rows, by table and by owner."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._owners: dict[RowKey, Owner] = {}
        self._by_owner: dict[Owner, set[RowKey]] = {}
        self._found: dict[RowKey, Columns] = {}

    def note(self, row: Row) -> None:
        """Remember whose a new or changed row is."""
        key, owner = key_of(row), owner_of(row)
        self._found.pop(key, None)
        if owner != self._owners.get(key):
            self.forget(row)
            if owner:
                self._owners[key] = owner
                self._by_owner.setdefault(owner, set()).add(key)

    def forget(self, row: Row) -> None:
        """Forget a row that is gone."""
        key = key_of(row)
        self._found.pop(key, None)
        owner = self._owners.pop(key, None)
        if owner:
            self._by_owner[owner].discard(key)
            if not self._by_owner[owner]:
                del self._by_owner[owner]

    def owned(self, owner: Owner) -> list[Row]:
        """An owner's rows."""
        noted = (self.tables[table].rows.get(uuid) for table, uuid in self._by_owner.get(owner, ()))
        return [row for row in noted if row is not None]

    def remember(self, row: Row, columns: Columns) -> None:
        """Keep in mind what a row was found to be, until somebody changes it."""
        if not _is_being_changed(row):
            self._found[key_of(row)] = columns

    def is_unchanged(self, row: Row, columns: Columns) -> bool:
        """Whether a row was found to be so, and nobody has changed it since."""
        return self._found.get(key_of(row)) == columns and not _is_being_changed(row)


def owner_of(row: Row) -> Owner | None:
    """Whose a row is; None for what no installation of ours made."""
    installation, id = mark(row, INSTALLATION), mark(row, ID)
    return Owner(installation, id) if installation and id else None


def key_of(row: Row) -> RowKey:
    """What tells a row from all others."""
    return table_of(row), row.uuid


def table_of(row: Row) -> str:
    """The name of a row's table."""
    return str(row._table.name)


def has_value(row: Row, column: str, wanted: Any) -> bool:  # noqa: ANN401 - ovs has no types
    """Whether a column has this value; the order in a set means nothing.

    What the transaction under way has put into a map key by key is not seen.
    """
    atoms = _datum(row, column)
    if isinstance(wanted, dict):
        return {key.value: value.value for key, value in atoms.items()} == wanted
    if not isinstance(wanted, list):
        return len(atoms) == 1 and bool(next(iter(atoms)).value == wanted)
    if table_held(row, column):
        return held_by(row, column) == {each.uuid for each in wanted}
    return sorted(atom.value for atom in atoms) == sorted(wanted)


def map_of(row: Row, column: str) -> dict[str, str]:
    """A column's value where it is a map of strings."""
    return {key.value: value.value for key, value in _datum(row, column).items()}


def mark(row: Row, key: str) -> str:
    """One of a row's external_ids; empty when it is not there."""
    value = _datum(row, "external_ids").get(_atom(key))
    return str(value.value) if value else ""


def held_by(row: Row, column: str) -> set[UUID]:
    """The rows that a column holds, with what the transaction has put in and taken out."""
    put_in = row._mutations.get("_inserts", {}).get(column, ())
    taken_out = row._mutations.get("_removes", {}).get(column, ())
    held = {atom.value for atom in _datum(row, column)} | {each.uuid for each in put_in}
    return held - {each if isinstance(each, UUID) else each.uuid for each in taken_out}


def table_held(row: Row, column: str) -> str:
    """The table whose rows a column holds; `""` for a column of plain values."""
    kind = row._table.columns[column].type.key
    return str(kind.ref_table_name or "")


def holds(row: Row, column: str, member: Row) -> bool:
    """Whether a column holds a row, likewise: without a look at its other members."""
    if member in row._mutations.get("_inserts", {}).get(column, ()):
        return True
    if member in row._mutations.get("_removes", {}).get(column, ()):
        return False
    return Atom(UuidType, member.uuid) in _datum(row, column)


def _is_being_changed(row: Row) -> bool:
    """Whether the transaction under way changes a row."""
    return bool(row._changes or row._mutations)


@lru_cache
def _atom(key: str) -> Any:  # noqa: ANN401 - ovs has no types
    """A key as maps have it."""
    return Atom.new(key)


def _datum(row: Row, column: str) -> Mapping[Any, Any]:
    """A column's atoms: the members of a set as keys, those of a map with their values."""
    datum = row._changes.get(column) or (row._data or {}).get(column)
    return datum.values if datum else {}
