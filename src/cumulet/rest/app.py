"""The app put together: one route per operation, the document about them, a page to try them, and a health check."""

from __future__ import annotations

import re
import time
import typing
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import msgspec
import swagger_ui_bundle
from anyio import to_thread
from litestar import Litestar, Request, Response, get
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException, InternalServerException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream as Streamed
from litestar.static_files import create_static_files_router
from litestar.status_codes import HTTP_200_OK
from litestar.types import ASGIApp, ControllerRouterHandler
from sqlalchemy import text

from cumulet.call import (
    Admit,
    Calls,
    KeptAnswers,
    Logins,
    Making,
    Rates,
    RefusedCalls,
    Users,
    WriteUses,
    awaited,
    is_kept,
    once_settled,
    repeats,
)
from cumulet.call.awaited import Commits, until_reached
from cumulet.call.reachable import reachable
from cumulet.db import UNREACHABLE, Database
from cumulet.errors import CumuletError, Unavailable
from cumulet.limits import USUAL, Limits
from cumulet.operation import OPERATIONS, Operation
from cumulet.projects import good_digests, user_of
from cumulet.rest import faults
from cumulet.rest.at_hand import AtHand, question_of
from cumulet.rest.binding import HttpRequest, ReceivedRequest
from cumulet.rest.connections import address_of
from cumulet.rest.contract import unserved
from cumulet.rest.edge import Edge, turn_of
from cumulet.rest.endpoint import Content, Endpoint
from cumulet.rest.metrics import ReadMetrics, metrics_route
from cumulet.rest.openapi import openapi_document
from cumulet.wire import Stream

PAGE: Final = Path(__file__).parent / "page"
LAST_READ: Final = ("lastEventId", "last_event_id")


def create_app(
    database: Database,
    *,
    admit: Admit,
    provided: Mapping[str, object],
    operations: Collection[Operation] | None = None,
    metrics: ReadMetrics | None = None,
    write_uses: WriteUses | None = None,
    pages: Sequence[ControllerRouterHandler] = (),
    limits: Limits = USUAL,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    seconds: Callable[[], float] = time.monotonic,
) -> ASGIApp:
    """Give the ASGI app that serves `operations` (all that are declared, if None is given).

    `provided` holds what operations may ask for by name besides `db`, `caller`, `now` and `origin`; `metrics` is what
    /metrics shows; `write_uses` writes down when keys were used; `pages` are served beside them.
    """
    served = OPERATIONS.values() if operations is None else operations
    calls, kept = Calls(database, admit, provided, clock, write_uses), KeptAnswers[bytes](clock=clock)
    endpoints = [Endpoint(operation, calls, kept) for operation in served]
    find_unserved = unserved(served)
    app = Litestar(
        [
            *_routes(endpoints, RefusedCalls(calls), Commits(database)),
            *pages,
            _health(database),
            *([metrics_route(metrics, database, clock=clock)] if metrics else []),
            _document(served),
            _page(),
        ],
        exception_handlers={
            CumuletError: partial(faults.refusal, find_unserved=find_unserved),
            HTTPException: partial(faults.protocol_error, find_unserved=find_unserved),
            InternalServerException: faults.caller_left,  # Litestar's word for it
            Exception: faults.our_mistake,
        },
        request_max_body_size=faults.BODY_LIMIT,
        openapi_config=None,
        logging_config=None,
    )
    return Edge(
        AtHand(app, kept, calls),
        rates=Rates(per_second=limits.requests_per_second, at_once=limits.requests_at_once),
        logins=Logins(partial(to_thread.run_sync, _good_digests, database, clock)),
        users=Users(lambda digest: to_thread.run_sync(_user_of, database, digest)),
        verbs=frozenset(one.path.rpartition("}:")[2] for one in served if "}:" in one.path),
        seconds=seconds,
    )


def _user_of(database: Database, digest: bytes) -> UUID | None:
    try:
        with database.reading() as db:
            return user_of(db, digest)
    except UNREACHABLE:  # what is asked for will say so
        return None


def _good_digests(database: Database, clock: Callable[[], datetime]) -> frozenset[bytes]:
    with reachable(), database.reading() as db:
        return good_digests(db, clock())


def _routes(
    endpoints: Iterable[Endpoint], refusals: RefusedCalls, commits: Commits
) -> Iterable[HTTPRouteHandler]:
    """Make one route per path: Litestar tells the methods of a path rightly only if one route has them all."""
    by_path: dict[str, dict[str, Endpoint]] = defaultdict(dict)
    for endpoint in endpoints:
        by_path[litestar_path(endpoint.operation.path)][endpoint.operation.method] = endpoint
    making = Making()
    for path, verbs in by_path.items():
        yield _route(path, verbs, making, refusals, commits)


def _route(
    path: str, verbs: Mapping[str, Endpoint], making: Making, refusals: RefusedCalls, commits: Commits
) -> HTTPRouteHandler:
    async def answer(request: Request[Any, Any, Any]) -> Response[Any]:
        endpoint = verbs[request.method]
        received = await receive(request, endpoint.operation)
        look = partial(answered, endpoint, received)
        if wait := endpoint.binding.wait(received):
            name = endpoint.binding.named(received, "id")
            whole = typing.cast(
                "Callable[[], Awaitable[bytes]]", look
            )  # nothing that has a state is streamed
            shown, outcome = await until_reached(wait, name, whole, commits, turn_of(request.scope))
            return Response(shown, media_type=endpoint.media_type, headers={awaited.OUTCOME: outcome})
        content = await look()
        if isinstance(content, Stream):
            return Streamed(content, media_type=endpoint.media_type)
        return Response(content, media_type=endpoint.media_type)

    async def answered(endpoint: Endpoint, received: ReceivedRequest) -> Content:
        try:
            return await once_settled(partial(in_a_thread, endpoint, received))
        except CumuletError as refused:
            if is_kept(endpoint.operation, refused):
                request = HttpRequest(endpoint.binding, received)
                await to_thread.run_sync(refusals.note, endpoint.operation, request, refused)
            raise

    async def in_a_thread(endpoint: Endpoint, received: ReceivedRequest) -> Content:
        async with making.turn(endpoint.operation, partial(endpoint.binding.values, received)):
            return await to_thread.run_sync(endpoint.answer, received)

    methods = [HttpMethod(method) for method in verbs]
    return HTTPRouteHandler(path, http_method=methods, status_code=HTTP_200_OK)(answer)


async def receive(request: Request[Any, Any, Any], operation: Operation) -> ReceivedRequest:
    """Read what a request brings to an operation."""
    key = "" if operation.reads_only else request.headers.get(repeats.HEADER.lower(), "")
    return ReceivedRequest(
        path_values=tuple(request.path_params.values()),
        query=query_of(request),
        body=b"" if request.method == HttpMethod.GET else await request.body(),
        authorization=request.headers.get("authorization", ""),
        origin=f"{request.scope['scheme']}://{request.headers.get('host', 'localhost')}",
        question=question_of(request.scope),
        idempotency_key=key,
        address=address_of(request.scope["client"]),
    )


def query_of(request: Request[Any, Any, Any]) -> str:
    """Give the query as it came; a browser that follows a stream anew says in a header, over its URL, what it has read."""
    query: str = request.scope["query_string"].decode("latin-1")
    last_read = request.headers.get("last-event-id")
    if last_read is None:
        return query
    others = [one for one in query.split("&") if one.partition("=")[0] not in LAST_READ]
    return "&".join([*others, f"{LAST_READ[0]}={quote(last_read)}"])


def litestar_path(path: str) -> str:
    """Name a path's parameters by their place: verbs of one path may call the same parameter differently.

    A verb at its end, `/{id}:verb`, is a part of its own, as the edge has it.
    """
    places = iter(range(path.count("{")))
    named = re.sub(r"{[^}]+}", lambda _: f"{{place{next(places)}:str}}", path)
    return named.replace("}:", "}/:")


def _health(database: Database) -> HTTPRouteHandler:
    @get("/healthz", sync_to_thread=True)
    def health() -> dict[str, str]:
        try:
            with database.reading() as db:
                db.execute(text("SELECT 1"))
        except UNREACHABLE as problem:
            raise Unavailable("the database does not answer") from problem
        return {"status": "ok"}

    return health


def _page() -> ControllerRouterHandler:
    """Serve the page where the API can be tried."""
    return create_static_files_router(
        "/docs",
        [PAGE, swagger_ui_bundle.swagger_ui_path],
        html_mode=True,
        after_request=_forbid_foreign_files,
    )


def _forbid_foreign_files(response: Response[Any]) -> Response[Any]:
    """Have the browser refuse whatever the page would load from elsewhere, and keep what does not change."""
    response.headers["content-security-policy"] = (
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
    )
    response.headers["cache-control"] = "no-cache"
    return response


def _document(operations: Collection[Operation]) -> HTTPRouteHandler:
    document = msgspec.json.encode(openapi_document(operations))

    @get("/openapi.json", sync_to_thread=False)
    def openapi() -> Response[bytes]:
        return Response(document, media_type=faults.JSON)

    return openapi
