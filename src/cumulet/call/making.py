"""What is being made at this moment: who asks for it a moment too early waits for it, without taking a thread.

A client of the contract asks for a VM some milliseconds after it began to create it, and takes a 404 for the end of it.
What other servers on the same database are making is not known here: there it is found once its create has answered.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import anyio

from cumulet.operation import Operation, snake

Values: TypeAlias = Mapping[str, object]
PATIENCE_S: Final = 1.0
"""How long an answer waits at most."""


class Making:
    """The creates that are under way in this process, by the path at which what they make will be found."""

    def __init__(self) -> None:
        self._under_way: list[tuple[str, anyio.Event]] = []

    @asynccontextmanager
    async def turn(self, operation: Operation, values: Callable[[], Values]) -> AsyncIterator[None]:
        """Let a request begin once what it looks for is made; note what it makes itself, for as long as it lasts.

        `values` are what it names: in its path, and where it makes something in its body as well.
        """
        if not operation.makes:
            if self._under_way:
                await self._wait_for(filled(operation.path, values()))
            yield
            return
        making = filled(operation.makes, values()), anyio.Event()
        self._under_way.append(making)
        try:
            yield
        finally:
            self._under_way.remove(making)
            making[1].set()

    async def _wait_for(self, looked_for: str) -> None:
        with anyio.move_on_after(PATIENCE_S):
            for path, made in tuple(self._under_way):
                if path == looked_for:
                    await made.wait()


def filled(path: str, values: Values) -> str:
    """Put values, each named in either spelling, into a path; one that is not there is left empty, as no path has it."""
    return re.sub(r"{(\w+)}", lambda name: str(values.get(snake(name[1])) or values.get(name[1]) or ""), path)
