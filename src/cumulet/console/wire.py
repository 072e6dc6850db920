"""The JSON of consoles."""

from __future__ import annotations

from cumulet.wire import Wire


class ConnectVmResponse(Wire, kw_only=True):
    """The answer of ConnectVM."""

    connect_url: str
    """A page with the VM's screen, for a browser."""
    token: str
    """The ticket in it, for programs that speak to the websocket behind the page themselves."""
