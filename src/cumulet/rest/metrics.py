"""/metrics: what Prometheus reads. No operation of the API, for it is text, and crosses projects."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from sqlalchemy.orm import Session

from cumulet.db import UNREACHABLE, Database
from cumulet.errors import Unavailable
from cumulet.rest.binding import bearer_key

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ReadMetrics = Callable[[Session, str, datetime], bytes]
"""Writes all numbers down for the holder of a key who may see them."""


def metrics_route(
    read: ReadMetrics, database: Database, *, clock: Callable[[], datetime]
) -> HTTPRouteHandler:
    """Make the route."""

    @get("/metrics", sync_to_thread=True)
    def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        key = bearer_key(request.headers.get("authorization", ""))
        try:
            with database.reading() as db:
                exposition = read(db, key, clock())
        except UNREACHABLE as problem:
            raise Unavailable("the database does not answer") from problem
        return Response(exposition, media_type=CONTENT_TYPE)

    return metrics
