"""The helper: a process on a host that answers calls over a unix socket.

Whoever can connect may ask for anything: the socket is root's alone, or the server's user's. A call goes on when its connection
breaks: who asked looks again, as after any failure.
"""

from __future__ import annotations

import math
import queue
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from time import monotonic
from typing import Final
from uuid import UUID

import msgspec
import structlog

from cumulet.hypervisor import Hypervisor
from cumulet.hypervisor.streams import join
from cumulet.line.failures import tell
from cumulet.line.frames import PULSE_SECONDS, Channel, Kind, LineBroken, write
from cumulet.line.served import ServedHost
from cumulet.line.spool import Spool, spool_of
from cumulet.line.verbs import HOST, Verb, verbs
from cumulet.line.wire import READS_CALL, READS_WISH, Call, HostWish

MOST_AT_ONCE: Final = 128
"""Calls that are worked on at the same time; others wait, and are told so by pulses."""
TAKES_NOTHING_SECONDS: Final = 60.0
"""How long who asked may take nothing of an answer."""
LOOK_UP_SECONDS: Final = 1.0
"""After how long at the latest a signal is heard that came right before a wait for connections: it does not end that wait."""

log = structlog.get_logger()


class Helper:
    """Serves a machine to whoever connects."""

    def __init__(self, listener: socket.socket, open_host: Callable[[HostWish], Hypervisor]) -> None:
        """`open_host` opens the machine for an installation, at its first call."""
        self._listener = listener
        self._open_host = open_host
        self._closed = False
        self._hosts: dict[bytes, ServedHost] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="verb")
        self._connections: set[Channel] = set()
        self._idle_since = monotonic()

    def serve(self, *, idle_seconds: float = math.inf) -> None:
        """Answer until it is closed, or nobody has been connected for so long."""
        self._listener.settimeout(min(LOOK_UP_SECONDS, idle_seconds / 4))
        while self._idle_for() < idle_seconds:
            try:
                link, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self._closed:
                link.close()
                return
            channel = Channel(link, seconds=TAKES_NOTHING_SECONDS)
            with self._lock:
                self._connections.add(channel)
            threading.Thread(target=self._keep, args=(channel,), name="line", daemon=True).start()

    def close(self) -> None:
        """End all connections and let go of the hosts."""
        self._closed = True
        with suppress(OSError), socket.socket(socket.AF_UNIX) as knock:  # wakes who accepts at once
            knock.connect(self._listener.getsockname())
        with self._lock:
            for channel in self._connections:
                channel.interrupt()
        for host in self._hosts.values():
            host.close()

    def _idle_for(self) -> float:
        with self._lock:
            return 0.0 if self._connections else monotonic() - self._idle_since

    def _keep(self, channel: Channel) -> None:
        """Answer one call after the other for as long as a connection lasts."""
        try:
            channel.send(Kind.PULSE)
            host = self._find_host(channel.receive_whenever()[1])
            while True:
                self._answer(channel, host, READS_CALL.decode(channel.receive_whenever()[1]))
        except LineBroken:
            pass
        except msgspec.MsgspecError:
            log.warning("a connection is ended: what came on it was no call")
        finally:
            channel.close()
            with self._lock:
                self._connections.discard(channel)
                self._idle_since = monotonic()

    def _find_host(self, wish: bytes) -> ServedHost:
        with self._lock:
            if wish not in self._hosts:
                meant = READS_WISH.decode(wish)
                self._hosts[wish] = ServedHost(
                    lambda: self._open_host(meant), Spool(spool_of(meant.state_dir))
                )
            return self._hosts[wish]

    def _answer(self, channel: Channel, host: ServedHost, call: Call) -> None:
        try:
            verb = verbs()[call.part, call.name]
            if (verb.part, verb.name) == (HOST, "on_change"):
                follow(channel, host)
            answer = result_of(self._workers.submit(do, channel, host, verb, bytes(call.arguments)), channel)
        except LineBroken:
            raise
        except Exception as failure:  # noqa: BLE001 - the edge: whatever it is, who asked is told
            channel.send(Kind.FAILURE, tell(failure))
        else:
            give(channel, answer)


def do(channel: Channel, host: ServedHost, verb: Verb, content: bytes) -> object:
    """Do what was asked for, and tell meanwhile what there is to tell."""
    given = verb.reads_arguments.decode(content)
    arguments = {name: getattr(given, name) for name in given.__struct_fields__}
    if verb.hears:
        arguments[verb.hears] = lambda word: channel.send(Kind.TOLD, write(word))
    bound = verb.signature.bind(**arguments)
    return host.find(verb)(*bound.args, **bound.kwargs)


def result_of(work: Future[object], channel: Channel) -> object:
    """Wait for a call's end, and let who asked know that it is under way."""
    while not wait((work,), PULSE_SECONDS).done:
        channel.send(Kind.PULSE)
    return work.result()


def give(channel: Channel, answer: object) -> None:
    """Send an answer; a stream of bytes takes the connection over until it ends."""
    if not isinstance(answer, socket.socket):
        channel.send(Kind.ANSWER, write(answer))
        return
    try:
        channel.send(Kind.ANSWER)
    except LineBroken:
        answer.close()
        raise
    join(channel.into_stream(), answer)
    raise LineBroken("the stream has ended")


def follow(channel: Channel, host: ServedHost) -> None:
    """Tell of changes for as long as the connection lasts."""
    changed: queue.SimpleQueue[UUID] = queue.SimpleQueue()
    try:
        host.follow(changed)
        channel.send(Kind.ANSWER)
        while True:
            try:
                channel.send(Kind.TOLD, write(changed.get(timeout=PULSE_SECONDS)))
            except queue.Empty:
                channel.send(Kind.PULSE)
    finally:
        host.unfollow(changed)
