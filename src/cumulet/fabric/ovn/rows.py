"""Rows of OVN's northbound database that are ours: found by their owner, compared, made right.

What a router, network, port or group consists of is told once, as rows (routers.py, networks.py, ports.py, groups.py). A `Draft` takes
that telling with a pen, and the rows are made so, or without one, and the first row that is not so raises `Differs`.
So what the `put_*` verbs write and what the listings call right cannot come apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from cumulet.fabric import FabricError
from cumulet.fabric.ovn.replica import (
    ID,
    INSTALLATION,
    PART,
    SPEC,
    Columns,
    Contents,
    Owner,
    Row,
    has_value,
    held_by,
    holds,
    mark,
    table_held,
    table_of,
)
from cumulet.fabric.ovn.specs import decode_spec, encode_spec

Txn: TypeAlias = Any
"""ovs.db.idl.Transaction."""
Part: TypeAlias = tuple[str, str]
"""A table's name and what the row is to its owner: ("NAT", "external")."""
Holder: TypeAlias = tuple[Row, str]
"""A row and its column that holds others."""

HOLDERS: Final[Mapping[str, Mapping[str, str]]] = {
    "Logical_Router_Port": {"Logical_Router": "ports"},
    "Logical_Switch_Port": {"Logical_Switch": "ports", "Port_Group": "ports"},
    "NAT": {"Logical_Router": "nat"},
}
"""Rows that others hold among rows of other owners. (Where all are of one owner, the holder's column tells them.)"""
OWNED_TABLES: Final = (
    "ACL",
    "DHCP_Options",
    "DNS",
    "Gateway_Chassis",
    "Logical_Router",
    "Logical_Router_Policy",
    "Logical_Router_Static_Route",
    "Logical_Switch",
    "Port_Group",
    *HOLDERS,
)

S = TypeVar("S")


class Differs(Exception):
    """A row is missing, too many or other than told; raised by a draft without a pen."""


def marks(owner: Owner, part: str, spec: object = None) -> dict[str, str]:
    """The external_ids of one of an owner's rows; the row that stands for the whole carries the spec."""
    marks = {INSTALLATION: owner.installation, ID: owner.id, PART: part}
    return marks if spec is None else {**marks, SPEC: encode_spec(spec)}


class View:
    """One installation's rows, as a turn of the connection sees them."""

    def __init__(self, contents: Contents, installation: str, txn: Txn | None = None) -> None:
        self.contents = contents
        self.tables = contents.tables
        self.installation = installation
        self.txn = txn

    def owner(self, id: UUID | str) -> Owner:
        """The owner of that id in this installation."""
        return Owner(self.installation, str(id))

    def owned(self, table: str, id: UUID | str) -> list[Row]:
        """An owner's rows of one table."""
        return [row for row in self.contents.owned(self.owner(id)) if table_of(row) == table]

    def find(self, table: str, id: UUID | str, part: str) -> Row | None:
        """One row by its owner's id and its part; None when it is not there."""
        for row in self.owned(table, id):
            if mark(row, PART) == part:
                return row
        return None

    def all(self, table: str, part: str) -> Iterator[Row]:
        """Our rows of a table that play one part."""
        for row in list(self.tables[table].rows.values()):
            if mark(row, PART) == part and mark(row, INSTALLATION) == self.installation:
                yield row

    def agreeing(
        self, table: str, part: str, *, unknown: S, declare: Callable[[View, S], None]
    ) -> dict[UUID, S]:
        """The specs of all things of a kind by id; `unknown` for one whose rows do not agree with its spec."""
        specs = {row: self._agreeing(mark(row, SPEC), unknown, declare) for row in self.all(table, part)}
        found = {}
        for row, spec in specs.items():
            with suppress(ValueError):  # somebody has made the id into something else
                found[UUID(mark(row, ID))] = spec
        return found

    def _agreeing(self, text: str, unknown: S, declare: Callable[[View, S], None]) -> S:
        """The spec, if that is what the rows are."""
        spec = decode_spec(text, type(unknown))
        if spec is None:
            return unknown
        try:
            declare(self, spec)
        except (Differs, FabricError, ValueError):  # ValueError: somebody has made the spec impossible
            return unknown
        return spec

    def held(self, table: str, holder: Row) -> Iterator[Row]:
        """The rows of a table that another row holds."""
        rows = self.tables[table].rows
        for uuid in held_by(holder, HOLDERS[table][table_of(holder)]):
            row = rows.get(uuid)
            if row is not None:
                yield row

    def holders(self, row: Row) -> Collection[Holder]:
        """The rows that hold this one."""
        if self.txn is None:
            return self._held.get(row.uuid, ())
        return [
            (holder, column)
            for table, column in HOLDERS[table_of(row)].items()
            for holder in self.tables[table].rows.values()
            if holds(holder, column, row)
        ]

    @cached_property
    def _held(self) -> dict[UUID, list[Holder]]:
        """Which rows hold each row: for a look at everything, where asking one by one would be quadratic."""
        held: dict[UUID, list[Holder]] = {}
        for table, column in {each for holders in HOLDERS.values() for each in holders.items()}:
            for holder in self.tables[table].rows.values():
                for uuid in held_by(holder, column):
                    held.setdefault(uuid, []).append((holder, column))
        return held

    def remove(self, rows: Sequence[Row]) -> None:
        """Delete rows; those that others hold go when they are let go of."""
        for row in rows:
            if table_of(row) not in HOLDERS:
                row.delete()
        for row in rows:
            if table_of(row) in HOLDERS:
                self.let_go(row)

    def let_go(self, row: Row) -> None:
        """Take a row out of whatever holds it."""
        for holder, column in self.holders(row):
            holder.delvalue(column, row)

    def remove_owner(self, id: UUID | str) -> None:
        """Delete all rows of an owner."""
        self.remove(self.contents.owned(self.owner(id)))


class Draft:
    """All rows of one owner, told one by one; what was not told by `finish` is too much."""

    def __init__(self, view: View, id: UUID | str) -> None:
        self.view = view
        self.owner = view.owner(id)
        self._untold: dict[Part, Row] = {}
        self._surplus: list[Row] = []
        for row in view.contents.owned(self.owner):
            part = (table_of(row), mark(row, PART))
            if part in self._untold:
                self._surplus.append(row)
            else:
                self._untold[part] = row

    def row(
        self,
        table: str,
        part: str,
        *,
        inside: Collection[Holder] = (),
        spec: object = None,
        **columns: object,
    ) -> Row:
        """Tell a row with the columns that count, and which rows alone hold it."""
        columns["external_ids"] = marks(self.owner, part, spec)
        row = self._untold.pop((table, part), None)
        if row is None:
            row = self._pen().insert(self.view.tables[table])
            for column, value in columns.items():
                setattr(row, column, value)
        else:
            self._correct(row, columns)
        if table in HOLDERS:
            self._hold(row, set(inside))
        return row

    def finish(self) -> None:
        """Everything was told: remove what is there besides."""
        if self._untold or self._surplus:
            self._pen()
            self.view.remove([*self._untold.values(), *self._surplus])

    def _correct(self, row: Row, columns: Columns) -> None:
        """Write the columns that differ, provided that nobody else changes them at the same time."""
        if self.view.contents.is_unchanged(row, columns):
            return
        differing = [column for column, wanted in columns.items() if not has_value(row, column, wanted)]
        if not differing:
            self.view.contents.remember(row, columns)
        for column in differing:
            self._pen()
            row.verify(column)
            if table_held(row, column):
                self._exchange(row, column, {each.uuid: each for each in columns[column]})
            else:
                setattr(row, column, columns[column])

    def _exchange(self, row: Row, column: str, wanted: Mapping[UUID, Row]) -> None:
        """Have a column hold just these rows; of a thousand, only those are written that come or go."""
        there = held_by(row, column)
        for uuid in wanted.keys() - there:
            row.addvalue(column, wanted[uuid])
        for uuid in there - wanted.keys():
            row.delvalue(column, uuid)

    def _hold(self, row: Row, wanted: set[Holder]) -> None:
        """Have a row in just these holders."""
        there = set(self.view.holders(row))
        for holder, column in wanted - there:
            self._pen()
            holder.addvalue(column, row)
        for holder, column in there - wanted:
            self._pen()
            holder.delvalue(column, row)

    def _pen(self) -> Txn:
        """The transaction to write in."""
        if self.view.txn is None:
            raise Differs
        return self.view.txn
