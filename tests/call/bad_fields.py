"""What does not fit in a field: one wrong value at a time, made from the types that operations declare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from msgspec import inspect

LONG: Final = "x" * 100_000
"""Longer than any text that is accepted, and shorter than the longest body."""
ABSENT: Final = "nowhere"
"""Of nothing; it could be a name of anything."""
MANY: Final = 2_000
"""More items than any list takes."""
BEYOND: Final = 2**31
"""The first number that is no int32."""
NO_JSON: Final[dict[type[inspect.Type], tuple[Any, ...]]] = {
    inspect.IntType: (1.5, True, [], {}, BEYOND, -BEYOND - 1),
    inspect.BoolType: (2, 1.5, [], {}),
    inspect.StrType: (7, True, [], {}),
    inspect.EnumType: (99, True, 1.5, [], {}),
    inspect.DateTimeType: (5, True, [], {}),
    inspect.ListType: ({}, "x", 3, True),
    inspect.DictType: ([], "x", 3, True),
    inspect.StructType: ([], "x", 3, True),
}
"""Of another type."""
NO_WORDS: Final[dict[type[inspect.Type], tuple[str, ...]]] = {
    inspect.IntType: ("many", "", "1.5", "1_0", "٢", " 1", "+1", "1e1", "0x10", str(BEYOND)),
    inspect.BoolType: ("maybe", "", "2"),
    inspect.StrType: ("a\0b",),
    inspect.EnumType: ("NO_SUCH_WORD", "", "٢", "99"),
    inspect.DateTimeType: ("yesterday", "", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00"),
}
"""Texts that stand for nothing of the type, in a body as in a query."""
OUT_OF_RANGE: Final[dict[type[inspect.Type], tuple[Any, ...]]] = {
    inspect.IntType: (-1, BEYOND - 1),
    inspect.StrType: (LONG, "a\x1b[31m\nb", ABSENT, ""),
    inspect.DateTimeType: ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
}
"""Of the right type, and hardly ever of a sense."""


class Wrong(NamedTuple):
    """A wrong value of one field, and what is sent as a whole then."""

    field: str
    """As refusals name it: `disks[0].sizeGib`."""
    value: Any
    sent: Any


Values = Callable[[inspect.Type, Any], Iterator[Any]]
"""Gives wrong values of a type, in place of a right one."""


def no_json(kind: inspect.Type, _right: object) -> Iterator[Any]:
    """Give what is no value of a type in a body."""
    yield from NO_JSON.get(type(kind), ())
    yield from no_words(kind, _right)


def no_words(kind: inspect.Type, _right: object) -> Iterator[str]:
    """Give what is no value of a type in a query."""
    yield from NO_WORDS.get(type(kind), ())


def out_of_range(kind: inspect.Type, right: Any) -> Iterator[Any]:
    """Give what is too much, too little or of no thing."""
    yield from OUT_OF_RANGE.get(type(kind), ())
    match kind:
        case inspect.ListType():
            some = right or [{} if isinstance(plain(kind.item_type), inspect.StructType) else "x"]
            yield some * MANY
        case inspect.DictType():
            yield {f"x{number}": "" for number in range(MANY)}
            yield {LONG: ""}


def plain(kind: inspect.Type) -> inspect.Type:
    """Leave of a type what it is when it is there, without what is said besides."""
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        options = kind.types if isinstance(kind, inspect.UnionType) else (kind.type,)
        kind = next(one for one in options if not isinstance(one, inspect.NoneType))
    return kind


def each_wrong(kind: inspect.Type, right: Any, values: Values, field: str = "") -> Iterator[Wrong]:
    """Put each wrong value into each field of what is right, also of members and items, whether they are there or not."""
    kind = plain(kind)
    if field:
        yield from (Wrong(field, value, value) for value in values(kind, right))
    match kind:
        case inspect.StructType():
            for one in kind.fields:
                name = f"{field}.{one.encode_name}".lstrip(".")
                given = right or {}
                for wrong in each_wrong(
                    one.type, given.get(one.encode_name) or kin(one.type, given), values, name
                ):
                    yield wrong._replace(sent=given | {one.encode_name: wrong.sent})
        case inspect.ListType():
            first, *others = right or [None]
            for wrong in each_wrong(kind.item_type, first, values, f"{field}[0]"):
                yield wrong._replace(sent=[wrong.sent, *others])
        case inspect.DictType():
            for wrong in each_wrong(kind.value_type, None, values, f"{field}.a"):
                yield wrong._replace(sent={"a": wrong.sent})


def kin(kind: inspect.Type, around: dict[str, Any]) -> dict[str, Any] | None:
    """Give what is right for a struct that is not there: what is around it, as far as it has members of those names."""
    kind = plain(kind)
    if not isinstance(kind, inspect.StructType):
        return None
    return {one.encode_name: around[one.encode_name] for one in kind.fields if one.encode_name in around}


def each_missing(kind: inspect.StructType, right: dict[str, Any]) -> Iterator[Wrong]:
    """Leave out each field that has to be there."""
    for one in kind.fields:
        if one.required:
            sent = {name: value for name, value in right.items() if name != one.encode_name}
            yield Wrong(one.encode_name, None, sent)


def with_unknown(kind: inspect.Type, right: Any) -> Any:
    """Add members that nobody knows to what is right, on every level."""
    match plain(kind), right:
        case inspect.StructType() as struct, dict():
            members = {one.encode_name: one.type for one in struct.fields}
            known = {name: with_unknown(members[name], value) for name, value in right.items()}
            return known | {"unheardOf": 1, "un_heard_of": [{}], "": None}
        case inspect.ListType() as several, list():
            return [with_unknown(several.item_type, item) for item in right]
    return right
