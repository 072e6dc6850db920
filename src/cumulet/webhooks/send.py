"""One HTTP request to a receiver whom nobody trusts: to a checked address, in bounds of time and bytes, no redirect.

The name is resolved once, the address checked and connected to; so a name that leads elsewhere the next time leads
nowhere else. Of the answer only the head is read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import time
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import httpcore

from cumulet.webhooks.addresses import Bounds, NotAllowed

SECONDS: Final = 8.0
"""For all of it together, but for the resolver's own time."""


class Undelivered(Exception):
    """A receiver did not take what it was sent; says why, in words for the webhook's owner."""


def signature(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """Sign a body with its id and the moment at which it is sent, as Standard Webhooks has it.

    So nobody can make one up, or send one again much later, and there are libraries for receivers.
    """
    digest = hmac.new(secret, b"%b.%d.%b" % (id.encode(), timestamp, body), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signed(secret: bytes, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Give the headers that a body is sent with."""
    return {
        "content-type": "application/json",
        "user-agent": "cumulet",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, id, timestamp, body),
    }


def send(url: str, headers: Mapping[str, str], body: bytes, *, bounds: Bounds) -> None:
    """Send a request; Undelivered unless the receiver says that it took it."""
    backend = CheckedBackend(bounds, time.monotonic() + SECONDS, in_plain=url.startswith("http:"))
    try:
        with (
            httpcore.ConnectionPool(network_backend=backend, ssl_context=authorities()) as pool,
            pool.stream("POST", url, headers=list(headers.items()), content=body) as answer,
        ):
            refuse_others(answer.status)
    except NotAllowed as why:
        raise Undelivered(str(why)) from None
    except httpcore.TimeoutException:
        raise Undelivered(f"no answer within {SECONDS:g} seconds") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as problem:
        raise Undelivered(in_words(problem)) from None


@cache
def authorities() -> ssl.SSLContext:
    """Give whom receivers' certificates may be from; read once, when first something is sent."""
    return ssl.create_default_context()


def refuse_others(status: int) -> None:
    """Return if a receiver's answer says that it took what it was sent; Undelivered."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise Undelivered(
            f"it answers {status}, which leads elsewhere and is not followed: name the final URL"
        )
    raise Undelivered(f"it answers {status}")


def in_words(problem: Exception) -> str:
    """Say what failed in words that tell nothing of this cloud's own network."""
    cause = problem.__context__ or problem
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "it does not speak TLS"
    if isinstance(problem, httpcore.ProtocolError):
        return "it does not speak HTTP"
    if isinstance(problem, httpcore.ReadError | httpcore.WriteError):
        return "the connection was lost"
    return "there is no connection to it"


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses alone, and lets nothing take longer than to a deadline (monotonic seconds)."""

    def __init__(self, bounds: Bounds, deadline: float, *, in_plain: bool) -> None:
        self._bounds = bounds
        self._deadline = deadline
        self._in_plain = in_plain
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - one deadline holds for all
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check, connect to what was checked."""
        address = self._bounds.resolve(host, port, in_plain=self._in_plain)
        left = left_until(self._deadline)
        stream = self._sockets.connect_tcp(address, port, left, local_address, socket_options)
        return TimedStream(stream, self._deadline)


class TimedStream(httpcore.NetworkStream):
    """A connection that ends at a deadline, however often a byte comes."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - likewise
        """Read what there is until then."""
        return self._stream.read(max_bytes, left_until(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - likewise
        """Write until then."""
        self._stream.write(buffer, left_until(self._deadline))

    def close(self) -> None:
        """End it."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - likewise
    ) -> httpcore.NetworkStream:
        """Go on in secret; the certificate is the name's, not the address's."""
        secret = self._stream.start_tls(ssl_context, server_hostname, left_until(self._deadline))
        return TimedStream(secret, self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's own signature
        """Tell of the connection below."""
        return self._stream.get_extra_info(info)


def left_until(deadline: float) -> float:
    """Give the seconds that are left; httpcore.ReadTimeout when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline is over")
    return left
