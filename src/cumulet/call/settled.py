"""Waiting for work under way: a request that is right once that has settled is not refused at once.

It waits here, without a thread and before anything of it is done: nothing is queued that a server could lose.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import chain, repeat
from typing import Final, TypeVar

import anyio

from cumulet.errors import CumuletError

T = TypeVar("T")
PATIENCE_S: Final = 10.0
"""How long a request waits at most: less than clients wait for an answer."""
PAUSES_S: Final = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Between two tries; the last one again and again."""


async def once_settled(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the answer is more than a passing refusal; its last one when that takes too long."""
    over = anyio.current_time() + PATIENCE_S
    for pause in chain(PAUSES_S, repeat(PAUSES_S[-1])):
        try:
            return await ask()
        except CumuletError as refused:
            if not refused.passing or anyio.current_time() + pause > over:
                raise
        await anyio.sleep(pause)
    raise AssertionError("the pauses never end")
