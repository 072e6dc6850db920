"""Writing down what was asked and what came of it, in words that cannot hold a secret.

Of all that a request holds only names are kept: ids, e-mail addresses and roles, each of a bounded length. Of a refusal the field or
the reason is kept and not its words, for those repeat what was sent.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

from cumulet.audit.model import AuditRecord, Outcome
from cumulet.db import insert_row
from cumulet.errors import CumuletError, redacted

NAMING: Final = re.compile(r"(?:.*_)?ids?|name|email|role")
"""Members of a request that name something."""
LONGEST_NAME: Final = 64
"""Characters; names that there can be are shorter."""
LONGEST_TARGET: Final = 500
FIELD: Final = re.compile(r"[A-Za-z]\w{0,62}")
OUTCOMES: Final = {one.number: one for one in Outcome}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What was asked, by whom and from where."""

    operation: str
    address: str
    project_id: str = ""
    target: str = ""
    user_id: UUID | None = None
    email: str = ""
    key_id: str = ""


def record(db: Session, act: Act, *, now: datetime) -> None:
    """Write down a change, in the transaction that makes it."""
    insert_row(db, AuditRecord, **columns(act, Outcome.OK, "", now=now))


def columns(act: Act, outcome: Outcome, reason: str, *, now: datetime) -> dict[str, Any]:
    """Give a record's columns."""
    return {
        "at": now,
        "last_at": now,
        "count": 1,
        "user_id": act.user_id,
        "email": act.email,
        "key_id": act.key_id,
        "address": act.address,
        "operation": act.operation,
        "project_id": bounded(act.project_id),
        "target": act.target,
        "outcome": outcome,
        "reason": reason,
    }


def target_of(arguments: Mapping[str, Any], answer: object = None, *, besides: str = "") -> str:
    """Write what a request names, other than the project, which it calls `besides`; if it names no id, the one it was given."""
    named = {snake: text for snake, text in _names(arguments) if snake != besides}
    made = getattr(answer, "id", "")
    if made and made not in named.values():
        named = {"id": _text(made), **named}
    return redacted(" ".join(f"{_camel(snake)}={text}" for snake, text in named.items()))[:LONGEST_TARGET]


def _names(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the names in a request: those of its path and query, then those in the body."""
    for name, value in arguments.items():
        if isinstance(value, msgspec.Struct):
            yield from _names({one: getattr(value, one) for one in value.__struct_fields__})
        elif value and NAMING.fullmatch(name) and (text := _text(value)):
            yield name, text


def _text(value: object) -> str:
    match value:
        case str():
            return bounded(value)
        case enum.Enum():
            return value.name
        case list():
            return ",".join(map(_text, value))
    return ""


def bounded(text: str) -> str:
    """Shorten what is longer than names are."""
    text = redacted(text)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _camel(snake: str) -> str:
    first, *others = snake.split("_")
    return first + "".join(map(str.capitalize, others))


def outcome_of(refused: CumuletError) -> tuple[Outcome, str]:
    """Tell what a refusal is, and by which field or precondition."""
    reasons = [
        *(
            violation["field"]
            for detail in refused.details
            for violation in detail.get("fieldViolations", ())
        ),
        *(
            violation["type"]
            for detail in refused.details
            for violation in detail.get("violations", ())
            if "type" in violation  # those of quotas have none
        ),
        *(detail["reason"] for detail in refused.details if "reason" in detail),
    ]
    found = [word[0] for reason in reasons if (word := FIELD.match(reason))]
    return OUTCOMES[refused.code], " ".join(found)[:LONGEST_TARGET]
