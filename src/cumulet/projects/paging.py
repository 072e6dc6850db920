"""Pages by number, as the contract's lists are asked for them: 1 is the first, and so is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from cumulet.errors import Invalid

T = TypeVar("T")
USUAL_SIZE: Final = 100
LARGEST_SIZE: Final = 1000
LAST_NUMBER: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    number: int
    size: int


def read_size(size: int) -> int:
    """How many entries a page has when `size` are asked for; 0 leaves it to us. Invalid when out of range."""
    if not 0 <= size <= LARGEST_SIZE:
        raise Invalid.field("pageSize", size, f"1 to {LARGEST_SIZE}, or 0 for {USUAL_SIZE}")
    return size or USUAL_SIZE


def read_page(number: int, size: int) -> Page:
    """Understand `pageNumber` and `pageSize`; Invalid when out of range."""
    if not 0 <= number <= LAST_NUMBER:
        raise Invalid.field("pageNumber", number, f"1 to {LAST_NUMBER}, or 0 for the first")
    return Page(number or 1, read_size(size))


def fetch_page(db: Session, rows: Select[T], page: Page) -> tuple[Sequence[T], int]:
    """Give the page's part of an ordered selection, and how many there are in all."""
    count = select(func.count()).select_from(rows.order_by(None).subquery())
    part = rows.limit(page.size).offset((page.number - 1) * page.size)
    return db.scalars(part).all(), db.scalar(count) or 0
