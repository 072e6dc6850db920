"""What the server tells the service manager that started it: that it serves, ends, reads its files anew, and is not stuck.

systemd listens on the datagram socket that `NOTIFY_SOCKET` names (sd_notify(3)); where none is named nobody is told.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Final, Self

import structlog

log = structlog.get_logger()

MICROSECONDS: Final = 1_000_000
BEATS: Final = 3
"""So often within the time after which the manager takes silence for being stuck."""


@dataclass(frozen=True, slots=True)
class Manager:
    """Whoever started the server and wants to know how it fares."""

    address: str = ""
    """Of its socket; empty where there is none."""
    patience: float = 0.0
    """Seconds after which it ends a server that was silent; 0 for never."""

    @classmethod
    def named_in(cls, environment: MutableMapping[str, str]) -> Self:
        """Read who it is, and take that out: what the server runs has nothing to say to it."""
        address = environment.pop("NOTIFY_SOCKET", "")
        pid, patience = environment.pop("WATCHDOG_PID", ""), environment.pop("WATCHDOG_USEC", "")
        is_ours = patience.isdecimal() and pid in {"", str(os.getpid())}
        return cls(address, int(patience) / MICROSECONDS if address and is_ours else 0.0)

    @property
    def is_there(self) -> bool:
        """Whether there is one."""
        return bool(self.address)

    def serves(self) -> None:
        """Tell that the server takes requests, and from then on that its event loop turns; called in that loop."""
        self._tell("READY=1")
        if self.patience:
            self._beat()

    def ends(self) -> None:
        """Tell that it takes no more requests, and is ending what it had begun."""
        self._tell("STOPPING=1")

    def while_reloading(self, reload: Callable[[], object]) -> None:
        """Read files anew, and tell when that begins and when it is done."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        reload()
        self._tell("READY=1")

    def _beat(self) -> None:
        self._tell("WATCHDOG=1")
        asyncio.get_running_loop().call_later(self.patience / BEATS, self._beat)

    def _tell(self, *lines: str) -> None:
        if not self.address:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, name)
        except OSError as problem:
            log.warning("the service manager was not told", lines=lines, problem=str(problem))
