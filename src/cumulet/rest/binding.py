"""From what came over the wire to a function's arguments, as lenient as the contract's real clients need.

The reference shows some query parameters where others expect a body, one client sends `None` for what is unset, and
bodies come empty, as `{}` or without a Content-Type; all that is folded here, and only here.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import msgspec
from msgspec import inspect

from cumulet.call import repeats
from cumulet.call.awaited import Wait, WaitQuery
from cumulet.errors import Invalid, Unauthenticated
from cumulet.operation import Operation, names_in
from cumulet.wire import Wire, decode, plain_text

HEADER: Final = "`Authorization: Bearer KEY`, the key as it was given when it was created"
IDEMPOTENCY_KEY: Final = re.compile(rf"[!-~]{{1,{repeats.LONGEST_KEY}}}")
UNSET: Final = "None"
"""What the Python client sends for an argument that was given as None."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request, as it came."""

    path_values: tuple[str, ...]
    """The path's parameters in their order, still percent-encoded."""
    query: str
    body: bytes
    authorization: str
    origin: str
    """Scheme and authority by which the caller reached us: `https://cloud.example`."""
    question: bytes
    """Names all that the answer depends on (`at_hand.question_of`)."""
    idempotency_key: str = ""
    """As the header has it; of what changes nothing it is not read."""
    address: str = ""
    """The IP address that the caller came from."""


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """One name in the query string, in both spellings."""

    name: str
    alias: str
    repeated: bool

    def values(self, given: Mapping[str, list[str]]) -> str | list[str] | None:
        """Pick this parameter's value out of the query; None if it is unset."""
        values = [value for value in given.get(self.name) or given.get(self.alias, []) if value != UNSET]
        if self.repeated:
            return values or None
        if len(values) > 1:
            raise Invalid.field(self.name, values, "one value")
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as a call takes it."""

    binding: Binding
    received: ReceivedRequest

    @property
    def origin(self) -> str:
        """By which address the caller reached us."""
        return self.received.origin

    @property
    def address(self) -> str:
        """Where the caller came from."""
        return self.received.address

    def key(self) -> str:
        """Give the API key; Unauthenticated without one."""
        return bearer_key(self.received.authorization)

    def named(self, parameter: str) -> str:
        """Give what the path names so; nothing for what no name can be."""
        return self.binding.named(self.received, parameter)

    def idempotency_key(self) -> str:
        """Give the caller's name for this request; Invalid."""
        key = self.received.idempotency_key
        if key and not IDEMPOTENCY_KEY.fullmatch(key):
            raise Invalid.field(
                repeats.HEADER,
                key,
                f"1 to {repeats.LONGEST_KEY} characters of ASCII that can be seen, such as a UUID",
            )
        return key

    def arguments(self) -> dict[str, Any]:
        """Give the function's arguments; Invalid."""
        return self.binding.arguments(self.received)


class Binding:
    """How one operation's arguments are found in a request; worked out once, used for each request."""

    def __init__(self, operation: Operation) -> None:
        self._path_names = operation.path_names
        self._path_fields = names_in(operation.path)
        self._query = operation.query
        self._parameters = query_parameters(operation.query) if operation.query else ()
        self._body = operation.body
        self._states = operation.states

    def arguments(self, received: ReceivedRequest) -> dict[str, Any]:
        """Give what the caller sent, by the names of the function's parameters; Invalid tells what does not fit."""
        arguments: dict[str, Any] = {
            name: plain_text(unquote(value), field)
            for name, field, value in zip(
                self._path_names, self._path_fields, received.path_values, strict=True
            )
        }
        body = read_body(received.body)
        if self._query is not None:
            raw = {} if self._body else body
            arguments |= msgspec.structs.asdict(
                decode(self._query, raw | self._query_members(received.query))
            )
        if self._body is not None:
            arguments["data"] = decode(self._body, body)
        return arguments

    def named(self, received: ReceivedRequest, parameter: str) -> str:
        """Give what a path names so; nothing for what `arguments` will refuse."""
        value = unquote(received.path_values[self._path_names.index(parameter)])
        return "" if "\0" in value else value

    def wait(self, received: ReceivedRequest) -> Wait | None:
        """Give the state that is waited for; None for none, Invalid when it cannot be."""
        if self._states is None or "wait" not in received.query:
            return None
        given = parse_qs(received.query, keep_blank_values=True)
        members = {one.name: value for one in WAITS if (value := one.values(given)) is not None}
        query = decode(WaitQuery, members)
        return Wait.asked(query, self._states) if query.wait else None

    def values(self, received: ReceivedRequest) -> dict[str, object]:
        """Give what a request names in its path and, over nothing of that, in its body if that can be read."""
        path = dict(zip(self._path_names, map(unquote, received.path_values), strict=True))
        try:
            return read_body(received.body) | path
        except Invalid:
            return {**path}

    def _query_members(self, query: str) -> dict[str, str | list[str]]:
        given = parse_qs(query, keep_blank_values=True)
        values = ((parameter.name, parameter.values(given)) for parameter in self._parameters)
        return {name: value for name, value in values if value is not None}


def query_parameters(query: type[Wire]) -> tuple[QueryParameter, ...]:
    """List what a query struct takes."""
    info = inspect.type_info(query)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - tells mypy what every Wire is
    return tuple(
        QueryParameter(name=field.encode_name, alias=field.name, repeated=_is_list(field.type))
        for field in info.fields
    )


def _is_list(kind: inspect.Type) -> bool:
    options = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return any(isinstance(option, inspect.ListType) for option in options)


def read_body(body: bytes) -> dict[str, Any]:
    """Decode a JSON object; nothing and `null` are an empty one, whatever the Content-Type says."""
    text = body.removeprefix(BOM_UTF8)
    if not text.strip():
        return {}
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Invalid(f"the body is not JSON: {problem}") from None
    except RecursionError:
        raise Invalid("the body is not JSON of this API: it is nested too deeply") from None
    if raw is not None and not isinstance(raw, dict):
        raise Invalid("the body must be a JSON object, for example {}")
    return raw or {}


def bearer_key(authorization: str) -> str:
    """Take the API key out of an Authorization header; the scheme's case does not matter."""
    scheme, *rest = re.split("[ \t]", authorization, maxsplit=1)
    key = "".join(rest).strip(" \t")
    if scheme.lower() != "bearer" or not key:
        raise Unauthenticated(f"an API key is needed, in the header {HEADER}")
    if foreign := re.search(r"[^!-~]", as_typed(key)):
        raise Unauthenticated(
            f"Authorization: U+{ord(foreign[0]):04X} cannot be in an API key; expected the header {HEADER}"
        )
    return key


def as_typed(header: str) -> str:
    """Read a part of a header as whoever typed it sees it: most programs send UTF-8, where headers are read as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


WAITS: Final = query_parameters(WaitQuery)
