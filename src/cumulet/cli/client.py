"""The API as the commands call it: where it is, with which key, and what it says when it declines."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlsplit

import msgspec

for unused in ("httpx._main", "trio"):  # its own command line and an event loop: half its start
    sys.modules.setdefault(unused, None)  # type: ignore[arg-type]
import httpx  # noqa: E402 - after the lines above

from cumulet.errors import Invalid, Unauthenticated, Unavailable  # noqa: E402 - likewise
from cumulet.settings import Settings, read_settings  # noqa: E402 - likewise

Json = dict[str, Any]
Query = str | int | Sequence[str]
"""A value of a query, or several of one name."""
SECONDS: Final = 30.0
KEY_FILE: Final = "admin.key"
"""The owner's key, in the server's data directory."""
NOBODY_TRUSTED: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Where nothing is encrypted: to read all authorities takes as long as a call."""
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to call one that listens on all


class Declined(Exception):
    """The API said no: `google.rpc.Status` as it came, or as near as its answer allows."""

    def __init__(self, message: str, *, code: int, details: list[Json]) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class Client:
    """One caller of one API."""

    http: httpx.Client

    def get(self, path: str, *ids: str, **query: Query) -> Json:
        """Read; `ids` fill the `{}` of the path."""
        return self.call("GET", path.format(*map(quoted, ids)), query=query)

    def post(self, path: str, *ids: str, body: Json | None = None, **query: Query) -> Json:
        """Ask for something to be done."""
        return self.call("POST", path.format(*map(quoted, ids)), query=query, body=body or {})

    def patch(self, path: str, *ids: str, body: Json | None = None, **query: Query) -> Json:
        """Change."""
        return self.call("PATCH", path.format(*map(quoted, ids)), query=query, body=body or {})

    def put(self, path: str, *ids: str) -> Json:
        """Likewise, where the API has another word for it."""
        return self.call("PUT", path.format(*map(quoted, ids)), body={})

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
        return self._answer("GET", path.format(*map(quoted, ids))).content

    def _answer(
        self, method: str, path: str, *, query: Mapping[str, Query] | None = None, body: object = None
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        try:
            answer = self.http.request(method, path, params=query or None, content=content)
        except httpx.HTTPError as problem:
            self._not_reached(problem)
        if answer.is_success:
            return answer
        raise declined(answer)

    def _not_reached(self, problem: httpx.HTTPError) -> NoReturn:
        advice = "; is it running? `cumulet up` starts it" if is_local(str(self.http.base_url)) else ""
        raise Unavailable(
            f"no answer from {self.http.base_url} ({problem or type(problem).__name__}){advice}"
        ) from problem


def quoted(id: str) -> str:
    """Write an id so that it stays one part of a path."""
    return quote(id, safe="")


def decoded(answer: httpx.Response) -> Json:
    """Read an answer's JSON object."""
    try:
        return msgspec.json.decode(answer.content, type=Json)
    except msgspec.MsgspecError:
        raise Unavailable(f"{answer.url} does not answer as Cumulet's API does; check CUMULET_URL") from None


def declined(answer: httpx.Response) -> Declined | Unauthenticated | Unavailable:
    """Turn an answer that is no success into words."""
    if answer.status_code == httpx.codes.UNAUTHORIZED and "authorization" not in answer.request.headers:
        return Unauthenticated(
            "no API key: set CUMULET_API_KEY, or be a user who can read admin.key in the server's data directory"
        )
    status = decoded(answer)
    if status.get("code") == Unavailable.code:
        return Unavailable(str(status.get("message")))
    return Declined(
        str(status.get("message", answer.reason_phrase)),
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
    if not urlsplit(url).scheme.startswith("http"):
        raise Invalid.field("CUMULET_URL", url, "a URL such as http://127.0.0.1:8480")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise Invalid.field("CUMULET_API_KEY", "(not shown)", "one line of letters, digits, '-' and '_'")
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    return Client(
        httpx.Client(
            base_url=url,
            headers=headers,
            timeout=seconds,
            limits=httpx.Limits(
                max_keepalive_connections=0
            ),  # a command makes few calls and leaves nothing open
            verify=url.startswith("https:") or NOBODY_TRUSTED,
            trust_env=not is_local(url),  # a proxy of the environment is for the world outside
        )
    )


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
