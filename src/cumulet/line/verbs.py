"""What may be asked over the line: every verb of the Hypervisor's Protocols and every call of the doctor's, by name.

Nothing is listed here. A verb's type hints say how its arguments and its answer travel, so a new one is there on both
sides as soon as it is in its Protocol.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Mapping
from collections.abc import Callable as AbstractCallable
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, Signature
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec

from cumulet.doctor.calls import CALLS
from cumulet.hypervisor import Hypervisor
from cumulet.line.frames import reader, write
from cumulet.line.spool import Spool

DOCTOR: Final = "doctor"
"""The part whose verbs are the doctor's calls."""
HOST: Final = ""
"""The part that is the Hypervisor itself."""
SPOOL: Final = "spool"
"""The part that takes and gives files."""
SIDES: Final = frozenset({"close"})
"""Verbs about the caller's own end."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that may be asked."""

    part: str
    name: str
    arguments: type[msgspec.Struct]
    reads_arguments: msgspec.msgpack.Decoder[Any]
    reads_answer: msgspec.msgpack.Decoder[Any] | None
    """None when the answer is a stream of bytes."""
    signature: Signature
    hears: str
    """The parameter that is called with what there is to tell meanwhile; `""` for none."""
    reads_told: msgspec.msgpack.Decoder[Any] | None

    def write_arguments(self, arguments: Mapping[str, Any]) -> bytes:
        """Write what a call was given, but who is told meanwhile."""
        return write(self.arguments(**{name: one for name, one in arguments.items() if name != self.hears}))


@cache
def verbs() -> Mapping[tuple[str, str], Verb]:
    """All verbs by their part and name."""
    found = [make_verb(DOCTOR, call) for call in CALLS]
    for part, protocol in {**parts(), SPOOL: Spool}.items():
        found += [make_verb(part, body) for name, body in own_functions(protocol) if name not in SIDES]
    return {(verb.part, verb.name): verb for verb in found}


@cache
def parts() -> Mapping[str, type]:
    """The Protocols of a host by the names that its parts have in the Hypervisor."""
    properties = inspect.getmembers(Hypervisor, lambda member: isinstance(member, property))
    return {HOST: Hypervisor} | {name: get_type_hints(one.fget)["return"] for name, one in properties}


def own_functions(protocol: type) -> list[tuple[str, Callable[..., Any]]]:
    """List a Protocol's verbs."""
    return [
        (name, body) for name, body in vars(protocol).items() if inspect.isfunction(body) and name[0] != "_"
    ]


def make_verb(part: str, body: Callable[..., Any]) -> Verb:
    """Read from a function's hints how a call of it travels."""
    hints = get_type_hints(body)
    signature = inspect.signature(body)
    parameters = [one for name, one in signature.parameters.items() if name != "self"]
    hears = next((one.name for one in parameters if is_callback(hints[one.name])), "")
    arguments = msgspec.defstruct(
        f"{part or 'host'}_{body.__name__}",
        [field_of(one, hints[one.name]) for one in parameters if one.name != hears],
        kw_only=True,
    )
    answer = hints["return"]
    return Verb(
        part=part,
        name=body.__name__,
        arguments=arguments,
        reads_arguments=reader(arguments),
        reads_answer=None if answer is socket.socket else reader(answer),
        signature=signature.replace(parameters=parameters),
        hears=hears,
        reads_told=reader(get_args(hints[hears])[0][0]) if hears else None,
    )


def field_of(parameter: Parameter, hint: object) -> tuple[str, Any] | tuple[str, Any, Any]:
    """Make a field of a parameter."""
    if parameter.default is Parameter.empty:
        return parameter.name, hint
    return parameter.name, hint, msgspec.field(default_factory=lambda: parameter.default)


def is_callback(hint: object) -> bool:
    """Whether a parameter is somebody to be told."""
    return get_origin(hint) is AbstractCallable
