"""Consoles: a VM's screen, keyboard and serial line, brought to whoever holds a ticket for them."""

from cumulet.console import operations
from cumulet.console.bridge import Left, Viewer, relay
from cumulet.console.close_reasons import CloseReason, Ended
from cumulet.console.sessions import Console, ConsoleRequest, Consoles, Kind

__all__ = [
    "CloseReason",
    "Console",
    "ConsoleRequest",
    "Consoles",
    "Ended",
    "Kind",
    "Left",
    "Viewer",
    "operations",
    "relay",
]
