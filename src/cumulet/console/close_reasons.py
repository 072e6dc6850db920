"""Every way a console ends or does not open, with the words that its viewer reads: never just "code 1006".

They travel as the websocket's close code and reason, of which 123 bytes are let through.
"""

from __future__ import annotations

import enum


class CloseReason(enum.Enum):
    """Why there is no console (any more), and what to do."""

    FOREIGN_PAGE = (
        4400,
        "This page has another address than its server knows. A proxy must pass on the Host header.",
    )
    BAD_TICKET = 4401, "This link has expired. Get a new one with `cumulet vm connect`."
    OTHER_VM = 4402, "This link is for another VM. Get one for this VM with `cumulet vm connect`."
    NOT_YOURS = 4403, "You may not use this VM any more: that takes the role EDITOR in its project."
    KEY_REVOKED = 4405, "The API key behind this link was revoked. Get a new link with another key."
    GONE = 4404, "This VM has been deleted. Its last console output is in `cumulet vm log`."
    IDLE = 4408, "Nothing happened here for an hour. Reconnect to go on."
    OFF = 4409, "The VM is off. Start it with `cumulet vm start`, then reconnect."
    STARTS = 4410, "The VM starts anew. Reconnect in a moment to see it again."
    HELD = 4411, "The VM does not run now: `cumulet vm get` says why. Reconnect when it does."
    SLOW = 4413, "This connection was too slow to keep up. Reconnect to go on."
    TAKEN_OVER = 4423, "The console was opened somewhere else. Reconnect to take it back."
    TOO_MANY = 4429, "Too many consoles are open, of this VM or yours. Close one, then reconnect."
    OUR_FAULT = (
        4500,
        "Something is wrong on our side. Reconnect in a minute; if it stays so, tell the operator.",
    )
    NO_CONSOLE = 4502, "QEMU closed the console. Reconnect; if that fails, restart the VM."
    HOST_AWAY = (
        4503,
        "The VM's host does not answer. Reconnect in a minute; if it stays so, tell the operator.",
    )

    def __init__(self, code: int, words: str) -> None:
        self.code = code
        self.words = words


class Ended(Exception):
    """A console cannot be opened or kept."""

    def __init__(self, end: CloseReason) -> None:
        super().__init__(end.words)
        self.end = end
