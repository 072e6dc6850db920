"""A socket in front of another one, for who may not open that: each connection is carried on as it is."""

from __future__ import annotations

import socket
import threading

import structlog

from cumulet.hypervisor import HostUnreachable
from cumulet.hypervisor.streams import join
from cumulet.line.connections import dial_unix

log = structlog.get_logger()


def relay(listener: socket.socket, target: str) -> None:
    """Carry connections to a unix socket, in threads of their own, for as long as this process lasts."""

    def accept() -> None:
        while True:
            link, _ = listener.accept()
            threading.Thread(target=carry_on, args=(link, target), name="relay", daemon=True).start()

    threading.Thread(target=accept, name=f"relay to {target}", daemon=True).start()


def carry_on(link: socket.socket, target: str) -> None:
    """Carry one connection until both its ends have ended; it ends at once when nobody listens at the target."""
    try:
        other = dial_unix(target)
    except HostUnreachable as absence:
        log.warning("a connection is ended", problem=str(absence))
        link.close()
        return
    other.settimeout(None)
    join(link, other)
