"""The moments from which a guest's packets follow a changed rule: one stand-in sends datagrams all the time, another hears them.

Both are network namespaces, plugged in as a VM's tap would be. Each datagram says when it was sent, so nobody has to be
quick to hear it. Two ports are sent to in turns: one that the change opens, and one that it closes.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tests.fabric.guests import Guest, udp_frame, wait_for_port
from tests.fabric.specs import a_network, a_port, a_router

PAUSE: Final = 0.002
ENOUGH: Final = 200
"""Datagrams in a row that the opened port gets and the closed one does not: it is closed."""
WITHIN: Final = 20
"""Seconds that it may take."""
WORDS: Final = re.compile(rb"<to (\d+) at (\d+\.\d+)>")
Nbctl = Callable[..., object]


class Pair:
    """Two guests of one network."""

    def __init__(self, sender: Guest, receiver: Guest) -> None:
        self._sender = sender
        self._receiver = receiver

    @property
    def receiver_port(self) -> str:
        """The port of the one who hears."""
        return str(self._receiver.port.id)

    def seconds_until_followed(self, ask: Callable[[], object], *, opened: int, closed: int) -> float:
        """Ask for a change; give how long it took until the one port was open and the other closed."""
        with self._sender.frames() as raw, self._receiver.frames() as heard:
            over = threading.Event()
            sending = threading.Thread(target=self._send, args=(raw, (opened, closed), over))
            sending.start()
            try:
                began = time.perf_counter()
                ask()
                return last_change(heard, began, opened=opened, closed=closed) - began
            finally:
                over.set()
                sending.join()

    def _send(self, raw: socket.socket, ports: tuple[int, int], over: threading.Event) -> None:
        """Send to both ports until it is over."""
        source, target = ((guest.port.mac, guest.port.address) for guest in (self._sender, self._receiver))
        while not over.wait(PAUSE):
            for port in ports:
                words = b"<to %d at %.6f>" % (port, time.perf_counter())
                raw.send(udp_frame(words, source=source, target=target, port=port))


def last_change(heard: socket.socket, began: float, *, opened: int, closed: int) -> float:
    """Give when the first datagram to the opened port was sent, or the last to the closed one; TimeoutError."""
    opened_at, closed_at, in_a_row = 0.0, began, 0
    while in_a_row < ENOUGH:
        port, sent = next_arrival(heard)
        if sent > began + WITHIN:
            raise TimeoutError(f"not within {WITHIN} s: port {opened} open and {closed} closed")
        if port == closed:
            closed_at, in_a_row = max(began, sent), 0
        elif port == opened:
            opened_at, in_a_row = opened_at or sent, in_a_row + 1
    return max(opened_at, closed_at)


def next_arrival(heard: socket.socket) -> tuple[int, float]:
    """Give to which port the next datagram was sent, and when."""
    while True:
        frame, (_, _, direction, *_) = heard.recvfrom(2048)
        found = WORDS.search(frame)
        if found and direction != socket.PACKET_OUTGOING:
            return int(found[1]), float(found[2])


@contextmanager
def pair_on(switch: str, nbctl: Nbctl) -> Iterator[Pair]:
    """Plug two guests into a switch of OVN, for as long as the block lasts."""
    network = a_network(a_router())
    ports = [a_port(network, 10), a_port(network, 11)]
    guests = []
    for port in ports:
        name = str(port.id)
        nbctl("lsp-add", switch, name, "--", "lsp-set-addresses", name, f"{port.mac} {port.address}")
        guests.append(Guest(port))
        wait_for_port(port)
    yield Pair(*guests)
    for guest in guests:
        guest.remove()
