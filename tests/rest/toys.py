"""A made-up API, small enough to know by heart: what the edge does with it, it does with every operation."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import field
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cumulet.errors import Invalid, Unauthenticated
from cumulet.operation import Access, Caller, Operation, declared
from cumulet.permission import CloudRole
from cumulet.wire import Empty, Png, ProtoEnum, Wire

KEY = "key-of-ann"
OPERATOR_KEY = "key-of-the-operator"


class ToyTables(DeclarativeBase):
    """Apart from the product's tables, which migrations are compared with."""


class ToyRow(ToyTables):
    __tablename__ = "toy"

    id: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]


class Color(ProtoEnum):
    RED = "RED", 1
    BLUE = "BLUE", 2


class Part(Wire):
    size_gib: int = 0
    is_spare: bool = False


class MakeToy(Wire):
    """What a toy is made of."""

    toy_id: str
    count: int = 1
    color: Color = Color.RED
    parts: list[Part] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    password: str | None = None
    made_at: datetime | None = None


class Toy(Wire):
    toy_id: str
    count: int
    color: Color
    parts: list[Part]
    labels: dict[str, str]
    made_at: datetime | None


class Heard(Wire):
    """What arrived at a function."""

    id: str = ""
    place: str = ""
    count: int | None = None
    label: str | None = None
    tags: list[str] = field(default_factory=list)
    is_big: bool = False
    since: datetime | None = None


def list_toys(
    *,
    count: int | None = None,
    tags: list[str] = [],  # noqa: B006 - never changed
    is_big: bool = False,
    since: datetime | None = None,
) -> Heard:
    """List toys.

    All of them.
    """
    return Heard(count=count, tags=tags, is_big=is_big, since=since)


def make_toy(db: Session, *, data: MakeToy) -> Toy:
    """Make a toy."""
    db.add(ToyRow(id=data.toy_id, count=data.count))
    return Toy(data.toy_id, data.count, data.color, data.parts, data.labels, data.made_at)


def get_toy(*, id: str) -> Heard:
    """Get a toy."""
    return Heard(id=id)


def delete_toy(db: Session, *, toy_id: str) -> Empty:
    """Delete a toy; its path parameter has another name than that of `get_toy`."""
    for row in db.scalars(select(ToyRow).where(ToyRow.id == toy_id)):
        db.delete(row)
    return Empty()


def list_special_toys() -> Heard:
    """List the special ones: a word where others have an id."""
    return Heard(label="special")


def change_toy(*, id: str, count: int, label: str | None = None) -> Heard:
    """Change a toy: all in the query."""
    return Heard(id=id, count=count, label=label)


def get_place(*, id: str, place: str) -> Heard:
    """Get a place of a toy."""
    return Heard(id=id, place=place)


def break_toy(db: Session, *, id: str) -> Empty:
    """Break a toy after a change, with a secret in hand."""
    db.add(ToyRow(id=id, count=1))
    raise RuntimeError("the secret is hunter2")


def draw_toy(*, id: str) -> Png:
    """Draw a toy."""
    return Png(id.encode())


def count_look(db: Session, *, id: str) -> Heard:
    """Count the looks at a toy: a GET that changes something."""
    row = db.merge(ToyRow(id=id, count=1))
    return Heard(id=row.id, count=row.count)


def fill_up() -> Heard:
    """Refuse, with other words for the operator."""
    raise Invalid("two hosts are full", for_operator="a and b are full")


def where_am_i(origin: str) -> Heard:
    """Tell by which address one came."""
    return Heard(place=origin)


def who_am_i(caller: Caller, now: datetime) -> Heard:
    """Tell who asks and when."""
    return Heard(label=caller.email, since=now)


TOYS: tuple[Operation, ...] = (
    declared("GET /v1/toys", list_toys, access=Access.OPEN),
    declared("POST /v1/toys", make_toy, access=Access.KEY),
    declared("GET /v1/toys/special", list_special_toys, access=Access.OPEN),
    declared("GET /v1/toys/{id}", get_toy, access=Access.OPEN),
    declared("DELETE /v1/toys/{toyId}", delete_toy, access=Access.KEY),
    declared("PATCH /v1/toys/{id}", change_toy, access=Access.KEY),
    declared("GET /v1/toys/{id}/places/{place}", get_place, access=Access.OPEN),
    declared("POST /v1/toys/{id}/break", break_toy, access=Access.KEY),
    declared("GET /v1/toys/{id}/drawing", draw_toy, access=Access.OPEN),
    declared("GET /v1/toys/{id}/look", count_look, access=Access.KEY, writes=True),
    declared("POST /v1/full", fill_up, access=Access.KEY),
    declared("GET /v1/here", where_am_i, access=Access.OPEN),
    declared("GET /v1/me", who_am_i, access=Access.KEY),
)


def admit(_db: Session, key: str, _operation: Operation, **_: object) -> Caller:
    if key not in {KEY, OPERATOR_KEY}:
        raise Unauthenticated("this key is not known")
    role = CloudRole.OPERATOR if key == OPERATOR_KEY else CloudRole.NONE
    return Caller(user_id=UUID(int=1), email="ann@example.org", cloud_role=role)
