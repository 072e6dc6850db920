"""Whether a server wants requests: asked by whoever spreads them over several, and answered before one of them ends."""

from __future__ import annotations

from litestar import get
from litestar.handlers import HTTPRouteHandler

from cumulet.errors import Unavailable


class Standing:
    """How one server stands: it serves, until it is to end."""

    def __init__(self) -> None:
        self.is_ending = False

    def end(self) -> None:
        """Want no more requests; those that come are served all the same."""
        self.is_ending = True


def readiness(standing: Standing) -> HTTPRouteHandler:
    """Answer `/readyz`: 200 while requests are wanted here, 503 from when the server is to end."""

    @get("/readyz", sync_to_thread=False)
    def ready() -> dict[str, str]:
        if standing.is_ending:
            raise Unavailable("this server is about to end: ask another one")
        return {"status": "ready"}

    return ready
