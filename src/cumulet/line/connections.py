"""Who asks: connections to a helper, one for each call under way, kept for the next one, and what their breaking means."""

from __future__ import annotations

import threading
from collections.abc import Callable
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import Any, Final

import msgspec

from cumulet.hypervisor import HostLost, HostUnreachable
from cumulet.line.failures import told
from cumulet.line.frames import SILENCE_SECONDS, Channel, Kind, LineBroken, write
from cumulet.line.verbs import Verb
from cumulet.line.wire import Call, HostWish

MOST_KEPT: Final = 8
"""Connections that wait for the next call."""

Dial = Callable[[], socket]
"""Makes a connection to a helper; HostUnreachable when there is no way to it now."""


class Connections:
    """Connections to one helper; several threads may ask at the same time, and none waits for another."""

    def __init__(self, dial: Dial, wish: HostWish) -> None:
        self._dial = dial
        self._wish = write(wish)
        self._lock = threading.Lock()
        self._kept: list[Channel] = []
        self._closed = False

    def ask(self, verb: Verb, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - the verb's own type
        """Have a verb done on the host, and give its answer or raise what it raised there.

        HostUnreachable when the host cannot be asked, HostLost when the line breaks meanwhile: whether it was done
        nobody knows then.
        """
        arguments = verb.signature.bind(*args, **kwargs).arguments
        channel = self.take()
        try:
            self.begin(channel, verb, verb.write_arguments(arguments))
            kind, content = next_news(channel, verb, arguments.get(verb.hears))
        except LineBroken as broken:
            channel.close()
            raise HostLost(f"the line to the host broke under {verb.part}.{verb.name}: {broken}") from broken
        except BaseException:
            channel.close()
            raise
        if kind is Kind.ANSWER and verb.reads_answer is None:
            return channel.into_stream()
        self._keep(channel)
        if kind is Kind.FAILURE:
            raise told(content)
        return verb.reads_answer.decode(content) if verb.reads_answer else None

    def take(self) -> Channel:
        """Give a connection that stands, a kept one or a new one; HostUnreachable when there is none to be had."""
        with self._lock:
            if self._closed:
                raise HostUnreachable("the line to the host was closed")
            while self._kept:
                channel = self._kept.pop()
                if channel.is_quiet():
                    return channel
                channel.close()
        return self._dial_new()

    def begin(self, channel: Channel, verb: Verb, arguments: bytes) -> None:
        """Ask for a verb on a connection."""
        channel.send(Kind.CALL, write(Call(verb.part, verb.name, msgspec.Raw(arguments))))

    def close(self) -> None:
        """End the connections that are kept; later calls find the host unreachable."""
        with self._lock:
            self._closed = True
            kept, self._kept = self._kept, []
        for channel in kept:
            channel.close()

    def _dial_new(self) -> Channel:
        channel = Channel(self._dial(), seconds=SILENCE_SECONDS)
        try:
            channel.receive()  # a forwarded socket is connected to before anybody is known to listen at its other end
            channel.send(Kind.OPEN, self._wish)
        except LineBroken as broken:
            channel.close()
            raise HostUnreachable(f"the helper on the host does not answer: {broken}") from broken
        return channel

    def _keep(self, channel: Channel) -> None:
        with self._lock:
            if not self._closed and len(self._kept) < MOST_KEPT:
                self._kept.append(channel)
                return
        channel.close()


def next_news(channel: Channel, verb: Verb, hear: Callable[[Any], None] | None) -> tuple[Kind, bytes]:
    """Wait for a call's end, and pass on what it tells until then."""
    while True:
        kind, content = channel.receive()
        if kind is Kind.TOLD and verb.reads_told and hear:
            hear(verb.reads_told.decode(content))
        elif kind in {Kind.ANSWER, Kind.FAILURE}:
            return kind, content


def dial_unix(path: str) -> socket:
    """Connect to a unix socket; HostUnreachable when nobody listens there."""
    link = socket(AF_UNIX, SOCK_STREAM)
    link.settimeout(SILENCE_SECONDS)
    try:
        link.connect(path)
    except OSError as failure:
        link.close()
        raise HostUnreachable(f"nobody answers at {path}: {failure.strerror or failure}") from failure
    return link
