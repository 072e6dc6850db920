"""Every way a console ends or does not open, with the words that its viewer reads: never just "code 1006".

They travel as the websocket's close code and reason, of which 123 bytes are let through.
"""

from __future__ import annotations

import enum


class CloseReason(enum.Enum):
    """Why there is no console (any more), and what to do."""

    FOREIGN_PAGE = (
        4400,
        "The server does not know this page's address. A proxy must pass on the Host header.",
    )
    BAD_TICKET = 4401, "This link has expired. Get a new one with `cumulet vm connect`."
    OTHER_VM = 4402, "This link is for another VM. Get one for this VM with `cumulet vm connect`."
    NOT_YOURS = 4403, "You may no longer use this VM: that needs the role EDITOR in its project."
    KEY_REVOKED = 4405, "The API key behind this link is not valid any more. Get a new link with another key."
    GONE = 4404, "This VM has been deleted. Its last console output is in `cumulet vm log`."
    IDLE = 4408, "Nothing happened here for an hour. Reconnect to continue."
    OFF = 4409, "The VM is off. Start it with `cumulet vm start`, then reconnect."
    STARTS = 4410, "The VM is restarting. Reconnect in a moment."
    HELD = 4411, "The VM is not running: `cumulet vm get` says why. Reconnect when it is."
    SLOW = 4413, "This connection was too slow to keep up. Reconnect to continue."
    TAKEN_OVER = 4423, "The console was opened elsewhere. Reconnect to take it back."
    TOO_MANY = 4429, "Too many consoles are open, of this VM or yours. Close one, then reconnect."
    OUR_FAULT = (
        4500,
        "Something went wrong on our side. Reconnect in a minute; if that does not help, tell the operator.",
    )
    NO_CONSOLE = 4502, "QEMU closed the console. Reconnect; if that fails, restart the VM."
    HOST_AWAY = (
        4503,
        "The VM's host does not answer. Reconnect in a minute; if that does not help, tell the operator.",
    )

    def __init__(self, code: int, words: str) -> None:
        self.code = code
        self.words = words


class Ended(Exception):
    """A console cannot be opened or kept."""

    def __init__(self, end: CloseReason) -> None:
        super().__init__(end.words)
        self.end = end
