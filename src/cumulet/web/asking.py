"""Pages call operations as programs do: admitted, counted and audited alike; only that nothing crosses a wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from cumulet.call import Answer, Call, Calls, KeptAnswers, RefusedCalls, is_kept, question
from cumulet.errors import CumuletError, Unauthenticated
from cumulet.operation import OPERATIONS, Caller


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a page asks of an operation, as a call takes it."""

    sent: Mapping[str, Any]
    origin: str
    address: str
    credential: str
    """The key that its viewer acts by; empty without one."""
    name: str = ""
    """What the form calls this request, so that sending it twice does it once."""

    def key(self) -> str:
        """Give the key; Unauthenticated without one."""
        if not self.credential:
            raise Unauthenticated("you are not signed in")
        return self.credential

    def named(self, parameter: str) -> str:
        """Give what the path names so."""
        return str(self.sent[parameter])

    def idempotency_key(self) -> str:
        """Give the request's name."""
        return self.name

    def arguments(self) -> dict[str, Any]:
        """Give the operation's arguments."""
        return dict(self.sent)


MOST_BYTES: Final = 8 * 1024 * 1024
"""Of all that is kept for pages, as the API would send it."""
Answered = tuple[Any, Caller | None]
"""An operation's answer, and who asked."""


class Asking:
    """All operations, to be asked by pages; in a thread. Answers are kept as those of the API are: nobody changes one."""

    def __init__(self, calls: Calls) -> None:
        self._refusals = RefusedCalls(calls)
        self.clock: Final = calls.clock
        self._uses: Final = calls.uses
        self._database: Final = calls.database
        self._kept: Final = KeptAnswers[Answered](most_bytes=MOST_BYTES, clock=calls.clock)
        self._calls: dict[Callable[..., Any], Call] = {}
        for one in OPERATIONS.values():
            self._calls.setdefault(one.function, Call(one, calls))

    def ask(self, function: Callable[..., Any], request: PageRequest, *, is_trial: bool = False) -> Answered:
        """Give an operation's answer, and who asked; of a trial it is audited only when somebody had no right to it."""
        call = self._calls[function]
        try:
            answer, caller = self._answer(call, request)
        except CumuletError as refused:
            if refused.kept_out or (not is_trial and is_kept(call.operation, refused)):
                self._refusals.note(call.operation, request, refused)
            raise
        self._uses.write_if_due()
        if isinstance(answer, msgspec.Raw):  # what is done once is answered as it was kept
            answer = msgspec.json.decode(answer, type=call.operation.answer)
        return answer, caller

    def _answer(self, call: Call, request: PageRequest) -> Answered:
        if not call.operation.lasts_until_a_commit:
            return call.ask(request)
        asked = question(call.operation.name, request.sent, request.credential, request.origin)
        answer = self._kept.recall(asked, self._database, partial(_read, call, request))
        self._uses.note(answer.key_digest)
        return answer.content


def _read(call: Call, request: PageRequest) -> Answer[Answered]:
    answer, caller = call.ask(request)
    return Answer.to(caller, (answer, caller), size=len(msgspec.json.encode(answer)))
