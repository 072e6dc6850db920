"""Consoles: a VM's screen, keyboard and serial line, brought to whoever holds a ticket for them."""

from cumulet.console import operations
from cumulet.console.bridge import Left, Viewer, look_through
from cumulet.console.ends import End, Ended
from cumulet.console.opening import Asked, Console, Consoles, Kind

__all__ = [
    "Asked",
    "Console",
    "Consoles",
    "End",
    "Ended",
    "Kind",
    "Left",
    "Viewer",
    "look_through",
    "operations",
]
