"""What went wrong, as the contract's `google.rpc.Status`: `{code, message, details}` under the right HTTP status.

A refusal has its own words. Anything else is our mistake: the caller learns that, and the number under which the
log tells the rest.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.response.base import ASGIResponse

from cumulet.errors import (
    CumuletError,
    Invalid,
    NotFound,
    TooFast,
    Unauthenticated,
    Unimplemented,
)
from cumulet.rest.contract import FindUnserved
from cumulet.wire import Status

log = structlog.get_logger()

BODY_LIMIT: Final = 1024 * 1024
"""Bytes; the largest thing that a caller may send is a start script of some 64 KiB."""
JSON: Final = "application/json"


class Encoded(Invalid):
    """The body is compressed, or otherwise not as it is."""

    http = 415


class Cancelled(CumuletError):
    """The caller went away; only the log sees it."""

    code = 1
    http = 499


def refusal(
    request: Request[Any, Any, Any], error: CumuletError, *, find_unserved: FindUnserved
) -> Response[bytes]:
    """Answer with a refusal's own words."""
    if isinstance(
        error, NotFound
    ):  # such as `projects/{id}:list-permissions`, which looks like a project's path
        error = find_unserved(request.scope["method"], request.scope["path"]) or error
    if error.http >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Unimplemented):
        log.warning("failed", path=request.scope["path"], exc_info=error)
    headers = {"www-authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}
    return _answer(error, status=error.http, headers=headers)


def protocol_error(
    request: Request[Any, Any, Any], error: HTTPException, *, find_unserved: FindUnserved
) -> Response[bytes]:
    """Answer what does not even reach an operation: unknown path, wrong method, too much."""
    method, path = request.scope["method"], request.scope["path"]
    headers = dict(error.headers or {})
    refused: CumuletError
    if unserved := find_unserved(method, path):
        return _answer(unserved, status=unserved.http, headers={})
    match error.status_code:
        case 404:
            refused = NotFound(f"there is no {path} in this API; see /docs")
        case 405:
            refused = Unimplemented(f"{method} is not allowed on {path}; allowed: {headers.get('allow', '')}")
        case 413:
            refused = Invalid(f"the body is too large; at most {BODY_LIMIT} bytes are accepted")
        case _:
            refused = Invalid(error.detail)
    return _answer(refused, status=error.status_code, headers=headers)


def caller_left(_request: Request[Any, Any, Any], _error: HTTPException) -> Response[bytes]:
    """Close the books on a caller who hung up before their body was whole; they hear nothing any more."""
    return _answer(Cancelled("the connection ended before the body did"), status=Cancelled.http, headers={})


def our_mistake(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer what must not happen; all that is known goes to the log alone."""
    log.error("request failed", method=request.scope["method"], path=request.scope["path"], exc_info=error)
    failure = CumuletError(
        "something went wrong on our side; the operator finds it in the log by the x-request-id"
    )
    return _answer(failure, status=failure.http, headers={})


def unserved(error: CumuletError) -> ASGIResponse:
    """Answer a request that the app is not to see."""
    later = {"retry-after": str(error.retry_after)} if isinstance(error, TooFast) else {}
    return ASGIResponse(body=encoded(error), status_code=error.http, media_type=JSON, headers=later)


def encoded(error: CumuletError) -> bytes:
    """Write a refusal as clients read it."""
    return msgspec.json.encode(Status.of(error))


def _answer(error: CumuletError, *, status: int, headers: dict[str, str]) -> Response[bytes]:
    return Response(encoded(error), status_code=status, media_type=JSON, headers=headers)
