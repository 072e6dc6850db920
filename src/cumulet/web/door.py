"""Who is at the door: the session in a cookie, and whether a form was sent by a page of ours.

A change needs three things that no foreign page has together: the cookie, which browsers send along from our own pages
alone; the address of our own page as its origin; and a token that only pages of this session hold.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import Any, Final
from urllib.parse import quote, urlsplit

from litestar import Request
from litestar.datastructures import Cookie

from cumulet.errors import Forbidden
from cumulet.projects import SESSION_LASTS, session_key

COOKIE: Final = "__Host-cumulet"
"""So named, browsers take it only from this very host, by TLS or from the machine itself, and for no other."""
ATTEMPT: Final = "__Host-cumulet-sso"
"""What a browser keeps while it is at the identity provider's."""
ATTEMPT_LASTS_S: Final = 600
TOKEN: Final = "token"  # noqa: S105 - a field's name
OWN: Final = frozenset({"same-origin", "none"})

HttpRequest = Request[Any, Any, Any]


def session_of(request: HttpRequest) -> str:
    """Give the secret of a browser's session; empty without one."""
    return request.cookies.get(COOKIE, "")


def credential_of(session: str) -> str:
    """Give the key that a session acts by."""
    return session_key(session) if session else ""


def token_of(session: str) -> str:
    """Give what all forms of a session's pages hold."""
    return hmac.new(session.encode(), b"form", hashlib.sha256).hexdigest()[:32]


def session_cookie(session: str) -> Cookie:
    """Have a browser keep a session's secret for as long as it can be good; an empty one, forget it."""
    seconds = int(SESSION_LASTS.total_seconds()) if session else 0
    return Cookie(COOKIE, value=session, max_age=seconds, secure=True, httponly=True, samesite="strict")


def attempt_cookie(secret: str, there: str) -> Cookie:
    """Have a browser keep what it began a sign-in with, and where it goes on; it comes back from another site."""
    kept = f"{secret} {quote(there, safe='')}" if secret else ""
    seconds = ATTEMPT_LASTS_S if secret else 0
    return Cookie(
        ATTEMPT, value=quote(kept, safe=""), max_age=seconds, secure=True, httponly=True, samesite="lax"
    )


def refuse_foreign(request: HttpRequest) -> None:
    """Return if a form was sent by a page from here; Forbidden."""
    origin = request.headers.get("origin")
    if origin is None:
        is_ours = request.headers.get("sec-fetch-site") in OWN
    else:
        is_ours = urlsplit(origin).netloc == request.headers.get("host")
    if not is_ours:
        raise Forbidden(
            "this was sent by a page of another site, so nothing was done; do it from a page here"
        )


def refuse_without_token(session: str, token: str) -> None:
    """Return if a form was made for this session; Forbidden."""
    if not hmac.compare_digest(token_of(session).encode(), token.encode()):
        raise Forbidden(
            "this form is of an earlier session, so nothing was done; open the page anew and send it again"
        )


def refuse_plain(origin: str) -> None:
    """Return if what is sent there can be read by nobody on the way; Forbidden says how to get to that."""
    if not is_private(origin):
        raise Forbidden(
            "signing in needs https: over http whoever is on the way can read your key. `cumulet tls self-signed` makes "
            "a certificate, with which CUMULET_TLS_CERT and CUMULET_TLS_KEY have the server speak TLS; from the machine "
            "itself, or through `ssh -L 8480:127.0.0.1:8480`, http://127.0.0.1:8480 works as it is"
        )


def why_plain(origin: str) -> str:
    """Say why nobody can sign in there; empty where they can."""
    try:
        refuse_plain(origin)
    except Forbidden as refused:
        return refused.message
    return ""


def is_private(origin: str) -> bool:
    """Whether a browser reaches us by TLS, or from the machine itself."""
    scheme, name = urlsplit(origin).scheme, urlsplit(origin).hostname or ""
    try:
        is_local = ipaddress.ip_address(name).is_loopback
    except ValueError:
        is_local = name == "localhost"
    return scheme == "https" or is_local
