"""The site put together: each page behind its address, its forms, and its stream of what changes on it.

    GET  /p/PROJECT/vms         the page
    GET  /live/p/PROJECT/vms    its stream, for pages that are live
    POST /p/PROJECT/vms/…       a form: then somewhere else, or the page again with what is wrong

A page is a function of a `Visit`, declared with `page` or `form` in a module of `web/pages`.
"""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote

from anyio import to_thread
from litestar import Request, Response
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from litestar.types import ExceptionHandlersMap

from cumulet.call import once_settled
from cumulet.errors import CumuletError, Forbidden, NotFound, Unauthenticated
from cumulet.web import rendering
from cumulet.web.asking import Asking
from cumulet.web.assets import SHORT, takes_gzip
from cumulet.web.door import ATTEMPT, TOKEN, refuse_foreign, refuse_without_token, session_of
from cumulet.web.live import LiveStreams
from cumulet.web.visit import Answer, Gone, Sent, Shown, Visit

HttpRequest = Request[Any, Any, Any]
View = Callable[[Visit], Answer]
Answering = Callable[[HttpRequest], Awaitable[Response[Any]]]
RULES: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "same-origin",  # with none at all, browsers call the origin of our own forms `null`
    "vary": "accept-encoding, cookie",
}
LIVE: Final = "/live/"
"""Before the address of a page: that of its stream."""
ENOUGH: Final = 5
"""How hard pages are compressed: more takes longer than it saves."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, or a form of one."""

    method: str
    path: str
    view: View
    shown_again: View | None = None
    """What shows the page anew when a form is refused."""
    is_live: bool = False
    is_open: bool = False
    """It is for who is not signed in, too."""


PAGES: Final[list[Page]] = []


def page(path: str, *, live: bool = False, is_open: bool = False) -> Callable[[View], View]:
    """Declare a page."""

    def declare(view: View) -> View:
        PAGES.append(Page("GET", path, view, is_live=live, is_open=is_open))
        return view

    return declare


def form(path: str, *, on: View, is_open: bool = False) -> Callable[[View], View]:
    """Declare what a form does that is on a page."""

    def declare(view: View) -> View:
        PAGES.append(Page("POST", path, view, shown_again=on, is_open=is_open))
        return view

    return declare


def site(asking: Asking) -> list[HTTPRouteHandler]:
    """Give the routes of all pages."""
    by_path: dict[str, dict[str, Page]] = {}
    for one in PAGES:
        by_path.setdefault(one.path, {})[one.method] = one
    handlers = [_route(path, pages, asking) for path, pages in by_path.items()]
    streams = LiveStreams()
    return handlers + [_live_route(one, asking, streams) for one in PAGES if one.is_live]


def _route(path: str, pages: Mapping[str, Page], asking: Asking) -> HTTPRouteHandler:
    async def answer(request: HttpRequest) -> Response[Any]:
        here = pages[request.method]
        visit = await visited(request, asking, here)
        given = await once_settled(partial(to_thread.run_sync, _view, here, visit))
        return as_response(request, given)

    return _handler(path, answer, *(HttpMethod(method) for method in pages))


def _view(here: Page, visit: Visit) -> Answer:
    """Do what a page does; a form that is refused shows its page again, with the input and why."""
    if here.shown_again is None:
        if not here.is_open:
            visit.caller  # noqa: B018 - refuses who may not be here
        return here.view(visit)
    try:
        return here.view(visit)
    except (Unauthenticated, NotFound):
        raise
    except CumuletError as refused:
        if refused.passing:
            raise
        visit.refused = refused
        return here.shown_again(visit)


def _live_route(here: Page, asking: Asking, streams: LiveStreams) -> HTTPRouteHandler:
    async def follow(request: HttpRequest) -> Response[Any]:
        visit = await visited(request, asking, here)
        visit.path = f"/{visit.path.removeprefix(LIVE)}"
        seen = request.headers.get("last-event-id") or visit.given("seen")
        return Stream(await streams.follow(visit, here.view, seen), media_type="text/event-stream")

    return _handler(f"{LIVE}{here.path.removeprefix('/')}", follow, HttpMethod.GET)


def _handler(path: str, answer: Answering, *methods: HttpMethod) -> HTTPRouteHandler:
    refusals: ExceptionHandlersMap = {CumuletError: refusal_page}
    return HTTPRouteHandler(
        path, http_method=methods, status_code=HTTPStatus.OK, exception_handlers=refusals
    )(answer)


async def visited(request: HttpRequest, asking: Asking, here: Page) -> Visit:
    """Read what a browser sent; Forbidden where a form comes from elsewhere."""
    visit = Visit(
        asking=asking,
        path=request.scope["path"],
        names={name: unquote(value) for name, value in request.path_params.items()},
        query=parse_qs(request.scope["query_string"].decode("latin-1")),
        origin=f"{request.scope['scheme']}://{request.headers.get('host', 'localhost')}",
        address=request.client.host if request.client else "",
        session=session_of(request),
        attempt=unquote(request.cookies.get(ATTEMPT, "")),
        referer=request.headers.get("referer", ""),
    )
    if request.method == HttpMethod.POST:
        refuse_foreign(request)
        visit.form = parse_qs((await request.body()).decode(), keep_blank_values=True)
        if not here.is_open:
            refuse_without_token(visit.session, visit.given(TOKEN))
    return visit


def as_response(request: HttpRequest, given: Answer) -> Response[Any]:
    """Send a page, compressed for who takes that, or where to go instead."""
    if isinstance(given, Gone):
        return Response(
            None,
            status_code=HTTPStatus.SEE_OTHER,
            headers={"location": given.url},
            cookies=list(given.cookies),
        )
    if isinstance(given, Sent):
        return Response(given.content, media_type=given.media_type)
    content, headers = given.html.encode(), dict(RULES)
    if len(content) > SHORT and takes_gzip(request.headers.get("accept-encoding", "")):
        content, headers["content-encoding"] = gzip.compress(content, ENOUGH, mtime=0), "gzip"
    return Response(content, status_code=given.status, media_type="text/html; charset=utf-8", headers=headers)


def refusal_page(request: HttpRequest, refused: CumuletError) -> Response[Any]:
    """Show why a page is not; who is not signed in is led to where they can be."""
    if request.scope["path"].startswith(LIVE):  # a script asks, and is led nowhere
        return Response(refused.message, status_code=refused.http, media_type="text/plain")
    if isinstance(refused, Unauthenticated) and request.headers.get("sec-fetch-site") == "cross-site":
        return as_response(
            request, Shown(rendering.render("again.html"))
        )  # only from here it brings its cookie
    if isinstance(refused, Unauthenticated) and request.method == HttpMethod.GET:
        there = request.scope["path"]
        query = request.scope["query_string"].decode("latin-1")
        if query:
            there += f"?{query}"
        where = "/login" if there == "/" else f"/login?next={quote(there, safe='')}"
        return as_response(request, Gone(where))
    if isinstance(refused, Unauthenticated):
        refused = Forbidden(f"{refused.message}; sign in and do it again")
    shown = rendering.render("refused.html", refused=refused)
    return as_response(request, Shown(shown, refused.http))
