"""One operation behind its URL: a request over HTTP becomes a call, and what that answers the bytes that are sent.

Everything that can be known before the first request is worked out when the endpoint is made.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import msgspec

from cumulet.call import Answer, Call, Calls, KeptAnswers
from cumulet.operation import Operation
from cumulet.rest.binding import Binding, HttpRequest, ReceivedRequest
from cumulet.rest.faults import JSON
from cumulet.wire import File, Stream

Content = bytes | Stream
"""An answer as it is sent: whole, or as it comes."""


class Endpoint:
    """An operation, and how it is asked for over HTTP."""

    def __init__(self, operation: Operation, calls: Calls, kept: KeptAnswers[bytes]) -> None:
        self.operation = operation
        self.binding = Binding(operation)
        self._call = Call(operation, calls)
        self._database = calls.database
        self._kept = kept
        self._uses = calls.uses
        self.media_type = JSON
        self._encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
        if issubclass(operation.answer, File):
            self.media_type, self._encode = operation.answer.media_type, bytes
        self._streams = issubclass(operation.answer, Stream)
        if issubclass(operation.answer, Stream):
            self.media_type = operation.answer.media_type

    def answer(self, received: ReceivedRequest) -> Content:
        """Do what was asked and give the answer as it is sent; what it changed is committed by then. In a thread."""
        content = self._opened(received) if self._streams else self._given(self._answer(received))
        self._uses.write_if_due()
        return content

    def _answer(self, received: ReceivedRequest) -> Answer[bytes]:
        if not self.operation.lasts_until_a_commit:
            return self._ask(received)
        return self._kept.recall(received.question, self._database, lambda: self._ask(received))

    def _opened(self, received: ReceivedRequest) -> Stream:
        stream, caller = self._call.ask(HttpRequest(self.binding, received))
        if caller is not None:
            self._uses.note(caller.key_digest)
        return typing.cast("Stream", stream)

    def _ask(self, received: ReceivedRequest) -> Answer[bytes]:
        answer, caller = self._call.ask(HttpRequest(self.binding, received))
        content = self._encode(answer)
        return Answer.to(caller, content, size=len(content))

    def _given(self, answer: Answer[bytes]) -> bytes:
        """Note that the key was used, which recalling an answer does not."""
        self._uses.note(answer.key_digest)
        return answer.content
