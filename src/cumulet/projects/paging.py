"""Lists in pages: by number, as the contract's lists are asked for them, or by token, which is for lists that change.

A number counts entries, so whatever goes or comes before it moves all that follows: one entry is skipped, or told
twice. A token names the last entry that was told, and the next page is what comes after it in the list's order,
whether that entry is still there or not.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import gt, lt
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from cumulet.errors import Invalid

T = TypeVar("T")
Key = InstrumentedAttribute[Any]
USUAL_SIZE: Final = 100
LARGEST_SIZE: Final = 1000
LAST_NUMBER: Final = 2**31 - 1
READERS: Final[dict[type, Callable[[str], object]]] = {
    str: str,
    int: int,
    UUID: UUID,
    datetime: datetime.fromisoformat,
}
"""How the members of a key are read out of a token."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for: by its number, or what follows an entry."""

    number: int
    size: int
    """0 for all that there is."""
    token: str = ""

    def following(self, *keys: Key, newest_first: bool = False) -> list[ColumnElement[bool]]:
        """Say in terms of a list's order what is on this page and all later ones; Invalid when the token is none of ours."""
        return (
            [_beyond(keys, _read_token(self.token, keys), lt if newest_first else gt)] if self.token else []
        )

    def cut(self, found: Sequence[T], key_of: Callable[[T], tuple[object, ...]]) -> tuple[Sequence[T], str]:
        """Give no more than a page of what was `found`, which is one entry more if there is one, and the next token."""
        if not self.size or len(found) <= self.size:
            return found, ""
        return found[: self.size], _token(key_of(found[self.size - 1]))


WHOLE: Final = Page(0, 0)


def read_size(size: int) -> int:
    """How many entries a page has when `size` are asked for; 0 leaves it to us. Invalid when out of range."""
    if not 0 <= size <= LARGEST_SIZE:
        raise Invalid.field("pageSize", size, f"1 to {LARGEST_SIZE}, or 0 for {USUAL_SIZE}")
    return size or USUAL_SIZE


def read_page(number: int, size: int, token: str = "") -> Page:
    """Understand `pageNumber`, `pageSize` and `pageToken`; Invalid when out of range."""
    if not 0 <= number <= LAST_NUMBER:
        raise Invalid.field("pageNumber", number, f"1 to {LAST_NUMBER}, or 0 for the first")
    if number and token:
        raise Invalid.field("pageNumber", number, "none beside a pageToken")
    return Page(0 if token else number or 1, read_size(size), token)


def read_part(size: int, token: str) -> Page:
    """Understand `pageSize` and `pageToken` of a list that comes whole when neither is given; Invalid when out of range."""
    return Page(0, read_size(size), token) if size or token else WHOLE


def fetch_part(
    db: Session, rows: Select[T], page: Page, *keys: Key, newest_first: bool = False
) -> tuple[Sequence[T], str]:
    """Give the page's part of a selection in the order of `keys`, which together are unique, and the next token."""
    order = [key.desc() if newest_first else key for key in keys]
    part = rows.where(*page.following(*keys, newest_first=newest_first)).order_by(*order)
    part = part.offset(page.size * max(page.number - 1, 0))
    found = db.scalars(part.limit(page.size + 1) if page.size else part).all()
    return page.cut(found, lambda row: tuple(getattr(row, key.key) for key in keys))


def fetch_page(db: Session, rows: Select[T], page: Page, *keys: Key) -> tuple[Sequence[T], int, str]:
    """Do as `fetch_part`, and count how many there are in all."""
    found, token = fetch_part(db, rows, page, *keys)
    return found, db.scalar(select(func.count()).select_from(rows.subquery())) or 0, token


def _beyond(
    keys: Sequence[Key], values: Sequence[object], comes_later: Callable[[Any, Any], Any]
) -> ColumnElement[bool]:
    """Compare as the order does: by the first key, among equals by the next."""
    (key, *others), (value, *further) = keys, values
    beyond: ColumnElement[bool] = comes_later(key, value)
    return or_(beyond, and_(key == value, _beyond(others, further, comes_later))) if others else beyond


def _token(key: tuple[object, ...]) -> str:
    said = [one.isoformat() if isinstance(one, datetime) else str(one) for one in key]
    return base64.urlsafe_b64encode(msgspec.json.encode(said)).decode().rstrip("=")


def _read_token(token: str, keys: Sequence[Key]) -> list[object]:
    try:
        said = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=list[str])
        read = [READERS[key.type.python_type](one) for key, one in zip(keys, said, strict=True)]
    except (binascii.Error, ValueError):
        read = None
    if read is None or "\0" in "".join(said):
        raise Invalid.field("pageToken", token, "the pageToken of the previous page, unchanged")
    return read
