"""What was refused goes into the audit: changes whatever the reason, looks where somebody had no right to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from cumulet import audit
from cumulet.call.call import Calls, Request, act_of
from cumulet.db import UNREACHABLE
from cumulet.errors import CumuletError, Forbidden, Unauthenticated
from cumulet.operation import Operation
from cumulet.projects import find_holder

log = structlog.get_logger()


class RefusedCalls:
    """Keeps the refusals of all calls."""

    def __init__(self, calls: Calls) -> None:
        self._database = calls.database
        self._clock = calls.clock
        self._refusals = audit.Refusals(calls.database)

    def note(self, operation: Operation, request: Request, refused: CumuletError) -> None:
        """Write down who was refused what and why; in a thread. Nobody's answer fails by it."""
        act = act_of(operation, request, arguments_of(operation, request))
        outcome, reason = audit.outcome_of(refused)
        try:
            self._refusals.note(self._with_holder(act, request), outcome, reason, now=self._clock())
        except UNREACHABLE as problem:
            log.warning("a refusal is missing in the audit", operation=operation.name, problem=str(problem))

    def _with_holder(self, act: audit.Act, request: Request) -> audit.Act:
        """Name whose key it was, even one that is good no more."""
        try:
            key = request.key()
        except Unauthenticated:
            return act
        with self._database.reading() as db:
            holder = find_holder(db, key)
        if holder is None:
            return act
        user_id, email, key_id = holder
        return replace(act, user_id=user_id, email=email, key_id=key_id)


def is_kept(operation: Operation, refused: CumuletError) -> bool:
    """Whether the audit tells of a refusal."""
    return not operation.reads_only or refused.kept_out or isinstance(refused, Forbidden | Unauthenticated)


def arguments_of(operation: Operation, request: Request) -> Mapping[str, Any]:
    """Give what the caller sent, or as much of it as the path says."""
    try:
        return request.arguments()
    except CumuletError:
        return {name: request.named(name) for name in operation.path_names}
