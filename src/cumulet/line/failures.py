"""How a refusal crosses the line: its class by name, with its words for owners and for operators."""

from __future__ import annotations

from typing import Any

import msgspec

from cumulet.errors import CumuletError, Failure
from cumulet.hypervisor import HypervisorError
from cumulet.line.frames import reader, write


class Told(msgspec.Struct):
    """A refusal as it travels."""

    name: str
    message: str
    """For the owner."""
    for_operator: str
    details: list[dict[str, Any]] = []


READS_TOLD = reader(Told)


def tell(failure: Exception) -> bytes:
    """Write down a refusal; what is none of ours is a failure of the host, told to its operator."""
    if not isinstance(failure, CumuletError):
        failure = HypervisorError(f"{type(failure).__name__}: {failure}")
    return write(Told(type(failure).__name__, failure.message, failure.for_operator, failure.details))


def told(content: bytes) -> CumuletError:
    """Make the refusal that was written down; one of a class that cannot be made of words is the host's failure."""
    told = READS_TOLD.decode(content)
    kind = next((one for one in subclasses(CumuletError) if one.__name__ == told.name), HypervisorError)
    if issubclass(kind, Failure) or kind.__init__ is not CumuletError.__init__:
        kind = kind if issubclass(kind, Failure) else HypervisorError
        return kind(told.for_operator, for_owner=told.message)
    return kind(told.message, *told.details, for_operator=told.for_operator)


def subclasses(kind: type[CumuletError]) -> list[type[CumuletError]]:
    """List a class of errors and all below it."""
    return [kind, *(deeper for one in kind.__subclasses__() for deeper in subclasses(one))]
