"""Every refusal the cloud can give, named for what the caller did.

The one place that knows both worlds: the gRPC number that clients read from `code`, and the HTTP status that
carries it (contract: `google.rpc.Status`). A refusal's message names the field, the value and what is accepted.

    CumuletError
    ├ Invalid             3  400   a field is out of its rule; also: no host has room (clients read 3 as "no capacity")
    ├ NotFound            5  404   not there, or not yours to see
    ├ AlreadyExists       6  409
    ├ Forbidden           7  403
    ├ Exhausted           8  429   a quota
    │  └ TooFast          8  429   the same is right later
    ├ Refused             9  400   right request, wrong moment; `reason` says which precondition failed
    ├ Unimplemented      12  501
    ├ Failure            13  500   of a host or the network; its reason is the operator's
    ├ Unavailable        14  503   try again later
    └ Unauthenticated    16  401
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Self

LONGEST_SHOWN: Final = 200
"""Characters of a refused value that its refusal repeats; callers may send a megabyte."""
KEY_PREFIX: Final = "cumulet_"
"""Lets people and secret scanners tell what a found text is."""
SECRET: Final = re.compile(rf"({KEY_PREFIX}[\w-]{{4}})[\w-]{{30,}}")
"""A key of ours, wherever somebody put it."""
MOST_NAMED: Final = 5
"""How many names a refusal tells of those that there are."""


class CumuletError(Exception):
    """A refusal with words for the caller and, in `details`, facts for their program."""

    code: ClassVar[int] = 13
    http: ClassVar[int] = 500

    def __init__(
        self, message: str, *details: dict[str, Any], for_operator: str = "", passing: bool = False
    ) -> None:
        """Take the words, and others `for_operator` if they may read more; they are whoever runs the cloud.

        It is `passing` when only work under way stands against the request: the same is right once that has settled.
        """
        super().__init__(redacted(message))
        self.passing = passing
        self.kept_out = False
        """It was refused for who asks, before anything else was looked at."""
        self.message = redacted(message)
        self.for_operator = redacted(for_operator) or self.message
        self.details = list(details)


class Invalid(CumuletError):
    """A field is out of its rule, or nothing that we own can satisfy the request."""

    code = 3
    http = 400

    @classmethod
    def field(cls, name: str, value: object, accepted: str, *, passing: bool = False) -> Self:
        """Name the field (as the caller wrote it), the value given and what would be accepted."""
        name = _in_full_or_shown(name)
        words = f"{name}: {_shown(value)} is not accepted; expected {accepted}"
        return cls._about([name], words, passing=passing)

    @classmethod
    def missing(cls, name: str) -> Self:
        """Name a field that has to be given."""
        return cls._about([name], f"{name} is required")

    @classmethod
    def together(cls, names: Sequence[str], accepted: str) -> Self:
        """Name several fields that do not fit together, and what of them would be accepted."""
        return cls._about(names, f"{', '.join(names)}: {accepted}")

    @classmethod
    @contextmanager
    def reference(cls, name: str) -> Iterator[None]:
        """Refuse the field that refers to what is not there, as `reason` says; NotFound is for what a path names."""
        try:
            yield
        except NotFound as missing:
            raise cls._about([name], f"{name}: {missing.message}", error_info("NOT_FOUND")) from None

    @classmethod
    def _about(
        cls, names: Sequence[str], message: str, *further: dict[str, Any], passing: bool = False
    ) -> Self:
        violations = [{"field": name, "description": message} for name in names]
        return cls(
            message,
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations},
            *further,
            passing=passing,
        )


def redacted(text: str) -> str:
    """Leave of keys in a text what tells them apart, and nothing that opens anything."""
    return SECRET.sub(r"\1…", text) if KEY_PREFIX in text else text


def error_info(reason: str, **metadata: object) -> dict[str, Any]:
    """Tell programs a reason that the code alone does not tell, with facts as texts."""
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "cumulet",
        "metadata": {name: str(value) for name, value in metadata.items()},
    }


def _in_full_or_shown(name: str) -> str:
    """Give a field's name as it is, unless it has a part that callers make up and that is too long or too odd for that."""
    return name if name.isprintable() and len(name) <= LONGEST_SHOWN else _shown(name)


def _shown(value: object) -> str:
    text = redacted(repr(value))
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


class NotFound(CumuletError):
    """Nothing of that name is there for this caller."""

    code = 5
    http = 404

    @classmethod
    def named(cls, kind: str, id: str, known: Sequence[str] | None = None) -> NotFound:
        """Say which kind of thing was looked for under which id, and which ids are `known` if the caller may see them."""
        return cls(f"there is no {kind} {_shown(id)}{'' if known is None else '; ' + those_there(known, id)}")


def few_of(names: Sequence[str], *, most: int = MOST_NAMED) -> str:
    """Name the first of many, and say how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def those_there(known: Sequence[str], wanted: str) -> str:
    """Name some of what there is, first what is spelled like what was wanted."""
    if not known:
        return "there are none yet"
    near = difflib.get_close_matches(wanted[:LONGEST_SHOWN], known, n=MOST_NAMED)
    named = list(dict.fromkeys([*near, *known]))[:MOST_NAMED]
    shown = ", ".join(map(repr, named))
    if len(known) == 1:
        return f"there is only {shown}"
    return f"there are {shown}" + (f" and {len(known) - len(named)} more" if len(known) > len(named) else "")


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


class TooFast(Exhausted):
    """The same is right later."""

    def __init__(self, message: str, *, seconds: float, reason: str = "RATE_LIMITED") -> None:
        """Take the words, and in how many seconds it may be tried again."""
        self.retry_after = max(math.ceil(seconds), 1)
        retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{self.retry_after}s"}
        super().__init__(message, error_info(reason), retry)


class Refused(CumuletError):
    """The request is right but the moment is wrong: a precondition fails.

    `reason` is a name of the contract's `Vm_PreconditionFailureType` and travels in `details`.
    """

    code = 9
    http = 400

    def __init__(self, message: str, *, reason: str, subject: str = "", passing: bool = False) -> None:
        violation = {"type": reason, "subject": subject, "description": message}
        super().__init__(
            message,
            {"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation]},
            passing=passing,
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


class Failure(CumuletError):
    """Something that the cloud is built on failed: only the operator reads why, which may name hosts, paths and addresses."""

    for_owner: ClassVar[str]
    """What is said to those whom it befell; "" where the reason is fit for them."""

    def __init__(self, why: str, *, for_owner: str = "") -> None:
        super().__init__(for_owner or self.for_owner or why, for_operator=why)

    def __str__(self) -> str:
        """Say what logs print, which are the operator's."""
        return self.for_operator


OUR_MISTAKE: Final = "something went wrong on our side; it will be retried, and the operator's log says why"


def text_for_owner(failure: Exception) -> str:
    """Say what failed to whom it befell: words that were written for them, and of nothing else a word."""
    return failure.message if isinstance(failure, CumuletError) else OUR_MISTAKE


class NotAtOnce(Exception):
    """A failure that what was asked may itself have caused: nobody's asking again brings it forward."""
