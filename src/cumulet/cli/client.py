"""The API as the commands call it: where it is, with which key, and what it says when it declines."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import msgspec

from cumulet.errors import Invalid, Unauthenticated, Unavailable
from cumulet.settings import Settings, read_settings

Json = dict[str, Any]
Query = str | int | Sequence[str]
"""A value of a query, or several of one name."""
SECONDS: Final = 30.0
PAUSES_S: Final = (0.1, 0.5, 1.5, 3.0)
"""Before a request is sent again whose connection was lost: its server may be starting anew."""
LARGEST_PAGE: Final = 1000
KEY_FILE: Final = "admin.key"
"""The owner's key, in the server's data directory."""
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to call one that listens on all
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

    def _answer(
        self, method: str, path: str, *, query: Mapping[str, Query] | None = None, body: object = None
    ) -> Answer:
        words = f"?{urlencode(query, doseq=True)}" if query else ""
        request = urllib.request.Request(  # noqa: S310 - `open_client` lets no other scheme through
            f"{self.url}{quote(path, safe=AS_GIVEN)}{words}",
            method=method,
            headers=dict(self.headers) | ({} if method == "GET" else {"idempotency-key": uuid4().hex}),
            data=None if body is None else msgspec.json.encode(body),
        )
        answer = self._answer_to(request)
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return answer
        if answer.status == HTTPStatus.UNAUTHORIZED and "authorization" not in self.headers:
            raise Unauthenticated(
                "no API key: set CUMULET_API_KEY, or be a user who can read admin.key in the server's data directory"
            )
        raise declined(answer)

    def _answer_to(self, request: urllib.request.Request) -> Answer:
        """Send a request, and the same again where the connection is lost: what was done already is not done twice."""
        was_lost, why = False, ""
        for pause in (*PAUSES_S, 0.0):
            try:
                with self.opener.open(request, timeout=self.seconds) as said:
                    return read_answer(request, said)
            except (
                OSError,
                HTTPException,
                UnicodeError,
            ) as problem:  # the last for what cannot be a host's name
                reason = getattr(problem, "reason", problem)
                why = str(reason) or type(problem).__name__
                was_lost |= is_loss(reason)
            if not was_lost:
                break
            time.sleep(pause)
        advice = "; is it running? `cumulet up` starts it" if is_local(self.url) else ""
        raise Unavailable(f"no answer from {self.url} ({why}){advice}")


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
    """Open the API that the environment names: `CUMULET_URL` and `CUMULET_API_KEY`, or this machine's own server.

    `seconds` is how long an answer may take.
    """
    settings = read_settings(os.environ)
    url = os.environ.get("CUMULET_URL") or local_url(settings)
    key = os.environ.get("CUMULET_API_KEY") or (local_key(settings) if is_local(url) else "")
    return open_client(url, key.strip(), seconds=seconds)


def connect_here(settings: Settings) -> Client:
    """Open this machine's own server as its owner, whatever the environment names."""
    return open_client(local_url(settings), local_key(settings).strip())


def open_client(url: str, key: str, *, seconds: float = SECONDS) -> Client:
    """Open an API; without a key only what is open to all answers."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise Invalid.field("CUMULET_URL", url, "a URL such as http://127.0.0.1:8480")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise Invalid.field("CUMULET_API_KEY", "(not shown)", "one line of letters, digits, '-' and '_'")
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    return Client(url.rstrip("/"), headers, opener_for(url), seconds)


def opener_for(url: str) -> urllib.request.OpenerDirector:
    """Make what opens connections to an API; none follows a redirection, for the key may go nowhere else."""
    opener = urllib.request.OpenerDirector()
    if not is_local(url):  # a proxy of the environment is for the world outside
        opener.add_handler(urllib.request.ProxyHandler())
    secure = url.startswith("https:")  # only then: to read all authorities takes as long as a call
    opener.add_handler(urllib.request.HTTPSHandler() if secure else urllib.request.HTTPHandler())
    return opener


def local_url(settings: Settings) -> str:
    """Name where this machine's own server listens."""
    host = ANY_ADDRESS.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def is_local(url: str) -> bool:
    """Whether a URL stays on this machine: only there may its own key go."""
    return urlsplit(url).hostname in LOOPBACK


def local_key(settings: Settings) -> str:
    """Read the owner's key of this machine's own server; nothing when it is not for us to read."""
    try:
        return (settings.data_dir / KEY_FILE).read_text()
    except (FileNotFoundError, PermissionError):
        return ""
