"""The words of the wire: how JSON of the contract becomes typed structs, as lenient as its real clients need.

The clients were generated from protobuf, so their JSON follows proto-JSON: names in camelCase or snake_case, enum
values by name or number, integers as text, `null` for unset, unknown members ignored. What still does not fit is
refused with the field, the value and what would be accepted.
"""

from __future__ import annotations

import enum
import functools
import re
import typing
from collections.abc import AsyncIterator, Hashable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final, Self, TypeVar

import msgspec
from msgspec import inspect

from cumulet.errors import CumuletError, Invalid

T = TypeVar("T", bound="Wire")
SECRETS: Final = frozenset(
    {
        "apiKey",
        "code",
        "currentPassword",
        "password",
        "secret",
        "session",
        "startScript",
        "ticket",
        "totpSecret",
        "verifier",
    }
)
"""Members whose values never appear in an error."""
INT32: Final = range(-(2**31), 2**31)
"""All integers of the contract are 32 bits wide; its 64-bit ones travel as text."""


class Wire(msgspec.Struct, rename="camel"):
    """The base of all structs that are JSON: camelCase, zero values present."""


class Status(Wire):
    """An error: `code` is the gRPC number, `message` is for people, `details` are for programs."""

    code: int
    message: str
    details: list[dict[str, Any]]

    @classmethod
    def of(cls, error: CumuletError) -> Status:
        """Write a refusal as clients read it."""
        return cls(code=error.code, message=error.message, details=error.details)


class ProtoEnum(enum.Enum):
    """An enum that shows by name and is understood by number too: `ACTIVE = "ACTIVE", 12`."""

    number: int

    def __new__(cls, name: str, number: int) -> Self:
        """Make the name the value, so that msgspec writes it."""
        member = object.__new__(cls)
        member._value_ = name
        member.number = number
        return member


class Amount(Wire):
    """`google.type.Decimal`: clients do `float(x["value"])`, so it is a plain decimal text."""

    value: str

    @classmethod
    def of(cls, amount: Decimal) -> Amount:
        """Write an exact amount without exponent or trailing zeros."""
        text = format(amount, "f")
        return cls(value=text.rstrip("0").rstrip(".") or "0" if "." in text else text)


def encoded(struct: T) -> T:
    """Encode a part of an answer before the rest, to be used again: it is copied as it is when that is encoded.

    It has no members any more.
    """
    return typing.cast("T", msgspec.Raw(msgspec.json.encode(struct)))


class Empty(Wire):
    """The answer of an operation that has nothing to tell: `{}`."""


class File(bytes):
    """The base of answers that are no JSON: bytes, sent as they are under their media type."""

    media_type: ClassVar[str]


class Png(File):
    """An answer that is a picture."""

    media_type = "image/png"


class Stream:
    """The base of answers without an end: bytes, sent as they come under their media type. Iterated over in the edge's loop."""

    media_type: ClassVar[str]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the next part once there is one; closed when the caller has left."""
        raise NotImplementedError


def utc(instant: datetime) -> datetime:
    """Read an instant without a zone as UTC: the Python client sends such."""
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def decode(kind: type[T], raw: object, *, what: str = "the body") -> T:
    """Turn decoded JSON into a struct; Invalid tells what does not fit."""
    if not isinstance(raw, dict):
        raise Invalid(f"{what} must be a JSON object, not {_json_name(raw)}")
    canonical = _canonical(_type_info(kind), raw, "")
    try:
        return msgspec.convert(canonical, kind, strict=False)
    except msgspec.ValidationError as problem:
        raise refusal(str(problem), canonical) from None


def plain_text(value: str, path: str) -> str:
    """Let a text through that every database can hold: PostgreSQL stores no NUL."""
    if "\0" in value:
        raise _refused(path, value, "text without NUL characters")
    return value


@functools.cache
def _type_info(kind: Hashable) -> inspect.Type:
    return inspect.type_info(kind)


def _canonical(kind: inspect.Type, raw: Any, path: str) -> Any:  # noqa: ANN401, PLR0911 - JSON has no one type
    """Fold proto-JSON's liberties into the one form that msgspec converts."""
    match kind, raw:
        case inspect.Metadata(), _:
            return _canonical(kind.type, raw, path)
        case inspect.UnionType(), _ if raw is not None:
            inner = next(option for option in kind.types if not isinstance(option, inspect.NoneType))
            return _canonical(inner, raw, path)
        case inspect.StructType(), dict():
            return _canonical_members(kind, raw, path)
        case inspect.ListType(), list():
            return [_canonical(kind.item_type, item, f"{path}[{index}]") for index, item in enumerate(raw)]
        case inspect.DictType(), dict():
            return _canonical_map(kind, raw, path)
        case inspect.EnumType(), _ if issubclass(kind.cls, ProtoEnum):
            return _enum_name(kind.cls, raw, path)
        case inspect.IntType(), _:
            return _integer(raw, path)
        case inspect.StrType(), _:
            return _text(raw, path)
        case inspect.DateTimeType(), _:
            return _instant(raw, path)
    return raw


def _canonical_members(kind: inspect.StructType, raw: dict[str, Any], path: str) -> dict[str, Any]:
    found = {}
    for field in kind.fields:
        value = raw.get(field.encode_name)
        if value is None:
            value = raw.get(field.name)
        if value is not None:
            name = f"{path}.{field.encode_name}" if path else field.encode_name
            found[field.encode_name] = _canonical(field.type, value, name)
    return found


def _canonical_map(kind: inspect.DictType, raw: dict[str, Any], path: str) -> dict[str, Any]:
    return {
        plain_text(key, path): _canonical(kind.value_type, value, f"{path}.{key}")
        for key, value in raw.items()
        if value is not None
    }


def _text(raw: object, path: str) -> str:
    if not isinstance(raw, str):
        raise _refused(path, raw, "a text")
    return plain_text(raw, path)


def _enum_name(kind: type[ProtoEnum], raw: object, path: str) -> str:
    for member in kind:
        if (
            raw == member.value
            or (raw == member.number and not isinstance(raw, bool))
            or raw == str(member.number)
        ):
            return str(member.value)
    raise _refused(path, raw, f"one of {', '.join(str(member.value) for member in kind)}")


def _integer(raw: object, path: str) -> int:
    whole = re.fullmatch(r"-?[0-9]{1,10}(\.0+)?", raw) if isinstance(raw, str) else None
    if whole or (isinstance(raw, float) and raw.is_integer()):
        number: object = int(float(str(raw)))
    else:
        number = raw
    if type(number) is not int or number not in INT32:
        raise _refused(path, raw, f"an integer from {INT32[0]} to {INT32[-1]}")
    return number


def _instant(raw: object, path: str) -> datetime:
    try:
        return utc(datetime.fromisoformat(raw))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise _refused(path, raw, "an instant such as 2026-01-02T03:04:05Z") from None


def _refused(path: str, value: object, accepted: str) -> Invalid:
    is_secret = path.rpartition(".")[2].partition("[")[0] in SECRETS
    return Invalid.field(path, "(not shown)" if is_secret else value, accepted)


def refusal(problem: str, canonical: Any) -> Invalid:  # noqa: ANN401 - JSON has no one type
    """Make msgspec's ``Expected `bool`, got `str` - at `$.nics[0].assignPublicIp` `` name the value as well."""
    expectation, _, where = problem.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    if missing := re.fullmatch(r"Object missing required field `(.+)`", expectation):
        return Invalid.missing(f"{path}.{missing[1]}" if path else missing[1])
    value = canonical
    for step in re.findall(r"[^.\[\]]+", path):
        value = value[int(step)] if isinstance(value, list) else value[step]
    accepted = expectation.removeprefix("Expected ").split(", got ")[0].replace("`", "")
    return _refused(path, value, accepted)


def _json_name(raw: object) -> str:
    names = {list: "an array", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(raw), "null")
