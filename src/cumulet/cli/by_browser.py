"""`cumulet login --web`: signed in at a browser, however people sign in there, and back by loopback with a code (RFC 8252, PKCE)."""

from __future__ import annotations

import base64
import hashlib
import secrets
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import monotonic
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from cumulet.cli.client import open_client
from cumulet.cli.config import Context
from cumulet.cli.progress import Progress
from cumulet.cli.web import has_screen
from cumulet.errors import Unavailable

PATIENCE_SECONDS: Final = 300.0
DONE: Final = b"<!doctype html><title>Signed in</title><p>You are signed in: go on in your terminal."


class Return(HTTPServer):
    """Waits on loopback for the browser that comes back with a code."""

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), Returned)
        self.state = state
        self.code = ""

    def wait(self) -> str:
        """Give the code; Unavailable when nobody comes."""
        until = monotonic() + PATIENCE_SECONDS
        while not self.code and monotonic() < until:
            self.timeout = until - monotonic()
            self.handle_request()
        if not self.code:
            raise Unavailable("nobody signed in within five minutes; try again")
        return self.code


class Returned(BaseHTTPRequestHandler):
    """One request to it."""

    server: Return
    timeout = 5

    def do_GET(self) -> None:
        """Take the code, if it comes with what was asked with."""
        query = parse_qs(urlsplit(self.path).query)
        code, state = (query.get(name, [""])[0] for name in ("code", "state"))
        is_ours = bool(code) and secrets.compare_digest(state.encode(), self.server.state.encode())
        self.send_response(200 if is_ours else 404)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        if is_ours:
            self.wfile.write(DONE)
            self.server.code = code

    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401 - as the library has it
        """Say nothing: the code is in the path."""


def key_by_browser(url: str, authority: str) -> str:
    """Have somebody sign in at a browser and let this command in; gives the API key that they let it have."""
    verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    with Return(state) as waiting:
        asked = urlencode({"port": waiting.server_port, "challenge": challenge, "state": state})
        link = f"{url.rstrip('/')}/authorize?{asked}"
        Progress().say(f"sign in with a browser on this machine: {link}")
        if has_screen():
            webbrowser.open(link)
        code = waiting.wait()
    client = open_client(Context(url=url, authority=authority))
    key: str = client.post("/v1/sessions/codes/redeem", body={"code": code, "verifier": verifier})["key"]
    return key
