"""Every refusal the cloud can give, named for what the caller did.

The one place that knows both worlds: the gRPC number that clients read from `code`, and the HTTP status that
carries it (contract: `google.rpc.Status`). A refusal's message names the field, the value and what is accepted.

    CumuletError
    ├ Invalid             3  400   a field is out of its rule; also: no host has room (clients read 3 as "no capacity")
    ├ NotFound            5  404   not there, or not yours to see
    ├ AlreadyExists       6  409
    ├ Forbidden           7  403
    ├ Exhausted           8  429   a quota
    ├ Refused             9  400   right request, wrong moment; `reason` says which precondition failed
    ├ Unimplemented      12  501
    ├ Unavailable        14  503   try again later
    └ Unauthenticated    16  401
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

LONGEST_SHOWN: Final = 200
"""Characters of a refused value that its refusal repeats; callers may send a megabyte."""


class CumuletError(Exception):
    """A refusal with words for the caller and, in `details`, facts for his program."""

    code: ClassVar[int] = 13
    http: ClassVar[int] = 500

    def __init__(self, message: str, *details: dict[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.details = list(details)


class Invalid(CumuletError):
    """A field is out of its rule, or nothing that we own can satisfy the request."""

    code = 3
    http = 400

    @classmethod
    def field(cls, name: str, value: object, accepted: str) -> Invalid:
        """Name the field (as the caller wrote it), the value given and what would be accepted."""
        message = f"{name}: {_shown(value)} is not accepted; expected {accepted}"
        violation = {"field": name, "description": message}
        return cls(
            message, {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
        )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


class NotFound(CumuletError):
    """Nothing of that name is there for this caller."""

    code = 5
    http = 404

    @classmethod
    def named(cls, kind: str, id: str) -> NotFound:
        """Say which kind of thing was looked for under which id."""
        return cls(f"there is no {kind} {id!r}")


class AlreadyExists(CumuletError):
    """The id is taken."""

    code = 6
    http = 409


class Forbidden(CumuletError):
    """The caller may see this but not do that."""

    code = 7
    http = 403


class Exhausted(CumuletError):
    """A quota of the project is used up."""

    code = 8
    http = 429


class Refused(CumuletError):
    """The request is right but the moment is wrong: a precondition fails.

    `reason` is a name of the contract's `Vm_PreconditionFailureType` and travels in `details`.
    """

    code = 9
    http = 400

    def __init__(self, message: str, *, reason: str, subject: str = "") -> None:
        violation = {"type": reason, "subject": subject, "description": message}
        super().__init__(
            message,
            {"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation]},
        )
        self.reason = reason


class Unimplemented(CumuletError):
    """The contract knows this, this version does not: said, never ignored."""

    code = 12
    http = 501


class Unavailable(CumuletError):
    """Something that we depend on does not answer now."""

    code = 14
    http = 503


class Unauthenticated(CumuletError):
    """No key, or a key that we do not know."""

    code = 16
    http = 401
