"""What browsers are told with every answer, whoever gives it: the app, the edge around it, or the door before both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

CAREFUL: Final = ((b"x-content-type-options", b"nosniff"),)
"""Headers of every answer."""
USUAL: Final = (
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Headers of every answer that has none of its own: answers hold keys, passwords and tickets, and are no pages."""


def with_care(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Add to an answer's headers what browsers are to be told."""
    given = {name for name, _ in headers}
    return [*headers, *CAREFUL, *(one for one in USUAL if one[0] not in given)]
