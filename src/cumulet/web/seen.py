"""What a page that is live looked like when it was sent: its stream begins with what differs from that."""

from __future__ import annotations

import hashlib
import re
from typing import Final

LIVE: Final = re.compile(r"<!--live-->(.*)<!--/live-->", re.DOTALL)
SEEN: Final = "LIVE-SEEN"
"""Where a page's template has the place for it, in the address of its stream."""
PASSING: Final = re.compile(r'name="request" value="[0-9a-f]+"')
"""What is another each time that a page is made."""


def live_block(html: str) -> str:
    """Give the part of a page that changes by itself; empty for none."""
    found = LIVE.search(html)
    return found[1] if found else ""


def digest_of(block: str) -> str:
    """Name how such a part looks."""
    return hashlib.sha256(lasting(block).encode()).hexdigest()[:16]


def lasting(html: str) -> str:
    """Leave out what is another each time."""
    return PASSING.sub("", html)


def with_seen(html: str) -> str:
    """Tell a page how it looks."""
    return html.replace(SEEN, f"seen={digest_of(live_block(html))}", 1) if SEEN in html else html
