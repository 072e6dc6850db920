"""The API as the commands call it: where it is, with which key, and what it says when it declines."""

from __future__ import annotations

import ssl
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import uuid4

import msgspec

from cumulet.cli.authorities import trusting
from cumulet.cli.config import Context, check_key, check_url, find_context, is_local, local_context
from cumulet.errors import CumuletError, Unauthenticated, Unavailable
from cumulet.settings import Settings

Json = dict[str, Any]
Query = str | int | Sequence[str]
"""A value of a query, or several of one name."""
SECONDS: Final = 30.0
PAUSES_S: Final = (0.1, 0.5, 1.5, 3.0)
"""Before a request is sent again whose connection was lost: its server may be starting anew."""
LARGEST_PAGE: Final = 1000
AS_GIVEN: Final = "%/?:@!$&'()*+,;=[]"
"""What a path and its query may have beside letters and digits; all else is quoted on the way."""


class Declined(Exception):
    """The API said no: `google.rpc.Status` as it came, or as near as its answer allows."""

    def __init__(self, message: str, *, code: int, details: list[Json]) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a call."""

    url: str
    status: int
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Client:
    """One caller of one API."""

    url: str
    """Where the API is, without a slash at the end."""
    headers: Mapping[str, str]
    opener: urllib.request.OpenerDirector
    seconds: float
    """How long each part of an answer may take."""
    tls: ssl.SSLContext | None = None
    """Whom to trust, where the API is reached by TLS."""

    def get(self, path: str, *ids: str, **query: Query) -> Json:
        """Read; `ids` fill the `{}` of the path."""
        return self.call("GET", path.format(*map(quoted, ids)), query=query)

    def list(self, path: str, *ids: str, member: str, **query: Query) -> list[Json]:
        """Read a whole list, all of its pages; `member` is where an answer has its part of it."""
        page = self.get(path, *ids, pageSize=LARGEST_PAGE, **query)
        found = list(page[member])
        while token := page.get("pageToken"):
            page = self.get(path, *ids, pageSize=LARGEST_PAGE, pageToken=token, **query)
            found += page[member]
        return found

    def post(self, path: str, *ids: str, body: Json | None = None, **query: Query) -> Json:
        """Ask for something to be done."""
        return self.call("POST", path.format(*map(quoted, ids)), query=query, body=body or {})

    def patch(self, path: str, *ids: str, body: Json | None = None, **query: Query) -> Json:
        """Change."""
        return self.call("PATCH", path.format(*map(quoted, ids)), query=query, body=body or {})

    def put(self, path: str, *ids: str, body: Json | None = None) -> Json:
        """Likewise, where the API has another word for it."""
        return self.call("PUT", path.format(*map(quoted, ids)), body=body or {})

    def delete(self, path: str, *ids: str, **query: Query) -> Json:
        """Remove."""
        return self.call("DELETE", path.format(*map(quoted, ids)), query=query)

    def call(
        self, method: str, path: str, *, query: Mapping[str, Query] | None = None, body: object = None
    ) -> Json:
        """Call the API; Declined when it says no, Unavailable when it does not answer."""
        return decoded(self._answer(method, path, query=query, body=body))

    def fetch(self, path: str, *ids: str) -> bytes:
        """Read what is no JSON."""
        return self._answer("GET", path.format(*map(quoted, ids))).body

    def lines(self, path: str, *ids: str, **query: Query) -> Iterator[str]:
        """Read an answer that comes line by line, until it ends; Unavailable when the connection ends before, or nothing comes."""
        request = self._request("GET", path.format(*map(quoted, ids)), query=query)
        try:
            with self.opener.open(request, timeout=self.seconds) as said:
                if said.status != HTTPStatus.OK:
                    raise self._refusal(read_answer(request, said))
                for line in said:
                    yield line.decode().rstrip("\r\n")
        except (OSError, HTTPException, UnicodeError) as problem:
            raise unanswered(self.url, getattr(problem, "reason", problem)) from None

    def _answer(
        self, method: str, path: str, *, query: Mapping[str, Query] | None = None, body: object = None
    ) -> Answer:
        answer = self._answer_to(self._request(method, path, query=query, body=body))
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return answer
        raise self._refusal(answer)

    def _request(
        self, method: str, path: str, *, query: Mapping[str, Query] | None = None, body: object = None
    ) -> urllib.request.Request:
        words = f"?{urlencode(query, doseq=True)}" if query else ""
        return urllib.request.Request(  # noqa: S310 - `open_client` lets no other scheme through
            f"{self.url}{quote(path, safe=AS_GIVEN)}{words}",
            method=method,
            headers=dict(self.headers) | ({} if method == "GET" else {"idempotency-key": uuid4().hex}),
            data=None if body is None else msgspec.json.encode(body),
        )

    def _refusal(self, answer: Answer) -> CumuletError | Declined:
        if answer.status == HTTPStatus.UNAUTHORIZED and "authorization" not in self.headers:
            return Unauthenticated(
                "no API key: `cumulet login` takes one, or set CUMULET_API_KEY, or be a user who can read admin.key "
                "in the server's data directory"
            )
        return declined(answer)

    def _answer_to(self, request: urllib.request.Request) -> Answer:
        """Send a request, and the same again where the connection is lost: what was done already is not done twice."""
        was_lost = False
        why: object = None
        for pause in (*PAUSES_S, 0.0):
            try:
                with self.opener.open(request, timeout=self.seconds) as said:
                    return read_answer(request, said)
            except (
                OSError,
                HTTPException,
                UnicodeError,
            ) as problem:  # the last for what cannot be a host's name
                why = getattr(problem, "reason", problem)
                was_lost |= is_loss(why)
            if not was_lost:
                break
            time.sleep(pause)
        raise unanswered(self.url, why)


def unanswered(url: str, why: object) -> Unavailable:
    """Say that nobody answers at a URL, why, and what may help."""
    if isinstance(why, ssl.SSLCertVerificationError):
        advice = f"; `cumulet login --url {url}` shows how to trust it"
    else:
        advice = "; is it running? `cumulet up` starts it" if is_local(url) else ""
    return Unavailable(f"no answer from {url} ({str(why) or type(why).__name__}){advice}")


def is_loss(reason: object) -> bool:
    """Whether a connection ended that there was, so that nobody knows what became of the request."""
    return isinstance(reason, ConnectionError | IncompleteRead) and not isinstance(
        reason, ConnectionRefusedError
    )


def read_answer(request: urllib.request.Request, said: HTTPResponse) -> Answer:
    """Read an answer to its end."""
    return Answer(request.full_url, said.status, said.reason, said.read())


def quoted(id: str) -> str:
    """Write an id so that it stays one part of a path."""
    return quote(id, safe="")


def decoded(answer: Answer) -> Json:
    """Read an answer's JSON object."""
    try:
        return msgspec.json.decode(answer.body, type=Json)
    except msgspec.MsgspecError:
        raise Unavailable(f"{answer.url} does not answer like Cumulet's API; check CUMULET_URL") from None


def declined(answer: Answer) -> Declined | Unavailable:
    """Turn an answer that is no success into words."""
    status = decoded(answer)
    if status.get("code") == Unavailable.code:
        return Unavailable(str(status.get("message")))
    return Declined(
        str(status.get("message", answer.reason)),
        code=int(status.get("code", 13)),
        details=status.get("details", []),
    )


def connect(seconds: float = SECONDS) -> Client:
    """Open the API that the command line, the environment or the current context names, else this machine's own server.

    `seconds` is how long an answer may take.
    """
    return open_client(find_context(), seconds=seconds)


def connect_here(settings: Settings) -> Client:
    """Open this machine's own server as its owner, whatever else is named."""
    return open_client(local_context(settings))


def open_client(context: Context, *, seconds: float = SECONDS) -> Client:
    """Open an API; without a key only what is open to all answers."""
    check_url("CUMULET_URL", context.url)
    check_key(context.key)
    authorization = {"authorization": f"Bearer {context.key}"} if context.key else {}
    headers = {"content-type": "application/json"} | authorization
    secure = context.url.startswith("https:")  # only then: to read all authorities takes as long as a call
    tls = trusting(context.authority) if secure else None
    return Client(context.url.rstrip("/"), headers, opener_for(context.url, tls), seconds, tls)


def opener_for(url: str, tls: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """Make what opens connections to an API; none follows a redirection, for the key may go nowhere else."""
    opener = urllib.request.OpenerDirector()
    if not is_local(url):  # a proxy of the environment is for the world outside
        opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(urllib.request.HTTPSHandler(context=tls) if tls else urllib.request.HTTPHandler())
    return opener
