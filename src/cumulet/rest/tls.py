"""TLS at the door: who comes is counted before the first word, and each connection gets the certificate as it is then.

    TCP ──▶ handshake ──▶ Connection (HTTP, within its own limits)
            10 s

asyncio would count a connection only once its handshake is done, allow that a minute, and keep a quarter of a MiB for each.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog
from uvicorn.protocols.utils import get_remote_addr

from cumulet.errors import Invalid, Unavailable
from cumulet.rest.connections import TAKE_SECONDS, Connection, Door, address_of, guarded, written
from cumulet.settings import TlsFiles

log = structlog.get_logger()

HANDSHAKE_SECONDS: Final = 10
HANDSHAKE_RECORD: Final = 22
"""The first byte of all that begins a handshake; what begins otherwise is no TLS."""


class Certificate:
    """The server's certificate and key, as their files are when a connection comes."""

    def __init__(self, files: TlsFiles) -> None:
        """Read both; Invalid names the setting whose file will not do."""
        self._files = files
        self._seen = self._look()
        self._context = read_context(files)

    def current(self) -> ssl.SSLContext:
        """Give what a new connection is served with; files that do not go together, or not yet, change nothing."""
        if (seen := self._look()) != self._seen:
            self._seen = seen
            try:
                self._context = read_context(self._files)
            except Invalid as problem:
                log.warning("the certificate stays as it was: its files will not do", problem=problem.message)
            else:
                log.info("the certificate is new", file=str(self._files.certificate))
        return self._context

    def _look(self) -> list[tuple[int, ...]]:
        return [looked_at(path) for path in (self._files.certificate, self._files.key)]


def looked_at(path: Path) -> tuple[int, ...]:
    """Tell one state of a file from another; that it is not there is one too."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def read_context(files: TlsFiles) -> ssl.SSLContext:
    """Make what TLS is spoken with; Invalid names the setting whose file will not do."""
    for name, path in (("CUMULET_TLS_CERT", files.certificate), ("CUMULET_TLS_KEY", files.key)):
        try:
            path.read_bytes()
        except OSError as problem:
            raise Invalid.field(
                name, str(path), f"a PEM file that can be read ({problem.strerror})"
            ) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key, password=refuse_password)
    except OSError as problem:
        why = getattr(problem, "reason", None) or problem.strerror
        accepted = f"a PEM file with the server's certificate first, whose key is in CUMULET_TLS_KEY ({why})"
        raise Invalid.field("CUMULET_TLS_CERT", str(files.certificate), accepted) from None
    return context


def refuse_password() -> str:
    """Refuse a key that needs one: there is nobody to ask."""
    raise Invalid.field(
        "CUMULET_TLS_KEY", "(not shown)", "a key without a password, readable by the server alone"
    )


class Handshake(SSLProtocol):
    """A connection from its first byte to its last, of which what is said within TLS is another's matter."""

    max_size = 4 * 1024
    """Bytes that are read at once: each connection holds a buffer of as many for as long as it lasts."""

    def __init__(self, inner: Connection, context: ssl.SSLContext, *, door: Door) -> None:
        super().__init__(
            inner.loop,
            inner,
            context,
            waiter=None,  # type: ignore[arg-type]
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=round(TAKE_SECONDS),
        )
        self._door = door
        self._address = ""
        """Empty when it is not inside."""
        self._line: asyncio.Transport | None = None
        """Until something has come."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, or not: there is no way yet to tell why."""
        address = address_of(get_remote_addr(transport))
        try:
            self._door.enter(address)
        except Unavailable:
            transport.abort()
            return
        self._address, self._line = address, transport
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let it out."""
        super().connection_lost(exc)
        if self._address:
            self._door.leave(self._address)

    def buffer_updated(self, nbytes: int) -> None:
        """Understand what came; who speaks plainly is told so in plain words."""
        if self._line is not None:
            line, self._line = self._line, None
            if self.get_buffer(nbytes)[0] != HANDSHAKE_RECORD:
                line.write(written(Invalid("this port speaks TLS; begin the URL with https://")))
                line.close()
                return
        super().buffer_updated(nbytes)


def locked(door: Door, certificate: Certificate) -> Mapping[str, Any]:
    """Have uvicorn serve through this door, and TLS alone.

    Its connections are counted twice: by `door` within TLS, where they can be told that there are too many, and by a
    wider one from their first byte to their last, beyond which nobody's handshake is begun.
    """
    outer, within = door.wider(), guarded(door)

    def made(**given: Any) -> Handshake:  # noqa: ANN401 - what uvicorn gives to its own
        return Handshake(within["http"](**given), certificate.current(), door=outer)

    return {**within, "http": made}
