"""A conversation with a guest's agent, every byte of which a hostile guest may have made up.

The guest's answers are read here and nowhere else: libvirtd, which all guests of a host depend on, never gets any.
What comes is bounded in bytes, depth and time before it is understood. A conversation begins by throwing away what an
earlier one left in the line, up to the answer to a number that nobody could foresee.
"""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

MOST_BYTES: Final = 1 << 20
"""In one conversation; the list of a thousand NICs takes a fifth of that."""
DEEPEST: Final = 32
"""Arrays and objects within each other; agents nest five."""
GREETING_SECONDS: Final = 2.0
"""In which an agent that is there gives its first answer."""
CHUNK: Final = 64 * 1024
MOST_LEFT: Final = 1000
"""Lines that an earlier conversation may have left."""
LONGEST_REFUSAL: Final = 300
SENTINEL: Final = b"\xff"
"""Never part of JSON: after it an agent reads afresh, and so do we."""
STRING_OR_BRACKET: Final = re.compile(rb'"[^"]*"?|[\[{]|[\]}]')
"""A string that does not end reaches to the end: whatever a guest sends is gone through once."""

T = TypeVar("T")


class AgentSilent(Exception):
    """The agent does not answer."""


class AgentRefuses(Exception):
    """The agent answers that it cannot, for instance open a file that is not there, or answers nonsense."""


class OutOfBounds(Exception):
    """What comes from the guest is larger or deeper than what any agent sends."""


class Refusal(msgspec.Struct):
    """Why an agent does not do what it was asked."""

    desc: str = ""


class Reply(msgspec.Struct):
    """One line from a guest."""

    value: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="return", default=msgspec.UNSET)
    error: Refusal | None = None


class Agent:
    """One conversation, until a time of the monotonic clock."""

    def __init__(self, line: socket.socket, *, until: float) -> None:
        self._line = line
        self._until = until
        self._received = 0
        self._unread = bytearray()

    def ask(self, command: str, answer: type[T], **arguments: object) -> T:
        """Put one question; AgentSilent or AgentRefuses when it is not answered."""
        self._send(question(command, **arguments))
        return read_answer(self._read_line(), answer)

    def go_on(self, *, until: float) -> None:
        """Speak for longer."""
        self._until = until

    def synchronise(self) -> None:
        """Throw away what an earlier conversation left in the line."""
        number = secrets.randbelow(1 << 31)
        self._send(SENTINEL + question("guest-sync-delimited", id=number))
        for _ in range(MOST_LEFT):
            _, sentinel, line = self._read_line().rpartition(SENTINEL)
            with suppress(AgentRefuses):
                if sentinel and read_answer(line, int) == number:
                    return
        raise OutOfBounds(f"it sent {MOST_LEFT} answers without a question")

    def _send(self, data: bytes) -> None:
        with self._in_time():
            self._line.sendall(data)

    def _read_line(self) -> bytes:
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            self._receive()
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line

    def _receive(self) -> None:
        with self._in_time():
            data = self._line.recv(CHUNK)
        if not data:
            raise AgentSilent("its connection ended")
        self._received += len(data)
        if self._received > MOST_BYTES:
            raise OutOfBounds(f"it sent more than {MOST_BYTES >> 20} MiB at once")
        self._unread += data

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        left = self._until - time.monotonic()
        if left <= 0:
            raise AgentSilent("it takes too long")
        self._line.settimeout(left)
        try:
            yield
        except OSError as error:  # among them its timeout
            raise AgentSilent(str(error)) from error


@contextmanager
def conversation(path: Path, *, seconds: float) -> Iterator[Agent]:
    """Begin to speak with the agent at the other end of a socket of QEMU's, which takes one speaker after another.

    AgentSilent when that takes too long, or nobody is there; OutOfBounds from any question on.
    """
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(GREETING_SECONDS)
        try:
            line.connect(str(path))
        except OSError as error:
            raise AgentSilent(str(error)) from error
        agent = Agent(line, until=began + min(GREETING_SECONDS, seconds))
        agent.synchronise()
        agent.go_on(until=began + seconds)
        yield agent


def question(command: str, **arguments: object) -> bytes:
    """Write a question as agents read it."""
    return msgspec.json.encode({"execute": command, "arguments": arguments}) + b"\n"


def read_answer(line: bytes, answer: type[T]) -> T:
    """Read what an agent answers; AgentRefuses when it is none of that type."""
    check_depth(line)
    try:
        reply = msgspec.json.decode(line, type=Reply)
        if reply.error is not None:
            raise AgentRefuses(reply.error.desc[:LONGEST_REFUSAL].replace("\0", ""))
        return msgspec.json.decode(reply.value or b"", type=answer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise AgentRefuses(str(error)) from error


def check_depth(line: bytes) -> None:
    """Return when arrays and objects do not lie too deep within each other: decoders go as deep as they are led."""
    depth = 0
    without_escapes = line.replace(rb"\\", b"").replace(rb"\"", b"")
    for found in STRING_OR_BRACKET.finditer(without_escapes):
        first = found[0][:1]
        depth += (first in b"[{") - (first in b"]}")
        if depth > DEEPEST:
            raise OutOfBounds(f"it nested its answer more than {DEEPEST} deep")
