"""The ring around the routes: what is kept of an answer and still right is given before anything else is looked at.

Most of what is asked is a poll, and nothing has changed. To find that out costs less than to find the route.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from cumulet.call import Calls, KeptAnswers, question
from cumulet.rest.faults import JSON

TYPE: Final = (b"content-type", JSON.encode())
GIVEN: Final = frozenset({b"authorization", b"host"})
"""The headers that an answer depends on; one that is there twice is twice in the question."""
WAIT: Final = b"wait"
"""A query with this word may wait for a state: its answer is made for it alone, with a header that tells how that ended."""


class AtHand:
    """An ASGI app that wraps another one, whose answers `kept` keeps: each is JSON, and a GET's."""

    def __init__(self, app: ASGIApp, kept: KeptAnswers[bytes], calls: Calls) -> None:
        self._app = app
        self._kept = kept
        self._database = calls.database
        self._uses = calls.uses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on what there is no answer for."""
        answer = self.find(question_of(scope)) if _may_be_kept(scope) else None
        if answer is None:
            await self._app(scope, receive, send)
            return
        headers = [TYPE, (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
        await send({"type": "http.response.body", "body": answer, "more_body": False})

    def find(self, asked: bytes) -> bytes | None:
        """Give the answer to a question if it takes no time and no thread, and note that the key was used."""
        if self._uses.is_due:  # to write them down takes a thread
            return None
        answer = self._kept.at_hand(asked, self._database)
        if answer is None:
            return None
        self._uses.note(answer.key_digest)
        return answer.content


def question_of(scope: Mapping[str, Any]) -> bytes:
    """Name all that a GET's answer depends on: what is asked for, with which key, and by which name of ours."""
    given = [header for header in scope["headers"] if header[0] in GIVEN]
    return question(scope["raw_path"], scope["query_string"], scope["scheme"], given)


def _may_be_kept(scope: Scope) -> bool:
    return (
        scope["type"] == ScopeType.HTTP
        and typing.cast("str", scope["method"]) == HttpMethod.GET
        and WAIT not in scope["query_string"]
    )
