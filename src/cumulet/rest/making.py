"""What is being made at this moment: who asks for it a moment too early waits for it, without taking a thread.

A client of the contract asks for a VM some milliseconds after it began to create it, and takes a 404 for the end of it.
What other servers on the same database are making is not known here: there it is found once its create has answered.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import unquote

import anyio

from cumulet.errors import Invalid
from cumulet.operation import Operation, snake
from cumulet.rest.binding import Asked, read_body

PATIENCE_S: Final = 1.0
"""How long an answer waits at most."""


class Making:
    """The creates that are under way in this process, by the path at which what they make will be found."""

    def __init__(self) -> None:
        self._under_way: list[tuple[str, anyio.Event]] = []

    @asynccontextmanager
    async def turn(self, operation: Operation, asked: Asked) -> AsyncIterator[None]:
        """Let a request begin once what it looks for is made; note what it makes itself, for as long as it lasts."""
        if not operation.makes:
            await self._wait_for(operation, asked)
            yield
            return
        making = path_made(operation, asked), anyio.Event()
        self._under_way.append(making)
        try:
            yield
        finally:
            self._under_way.remove(making)
            making[1].set()

    async def _wait_for(self, operation: Operation, asked: Asked) -> None:
        if not self._under_way:
            return
        looked_for = filled(operation.path, path_values(operation, asked))
        with anyio.move_on_after(PATIENCE_S):
            for path, made in tuple(self._under_way):
                if path == looked_for:
                    await made.wait()


def path_made(operation: Operation, asked: Asked) -> str:
    """Say at which path that will be found which a request makes; empty for one that is about to be refused."""
    try:
        body = read_body(asked.body)
    except Invalid:
        return ""
    return filled(operation.makes, body | path_values(operation, asked))


def path_values(operation: Operation, asked: Asked) -> dict[str, str]:
    """Give the values of an operation's path by their names there."""
    return dict(zip(operation.path_names, map(unquote, asked.path_values), strict=True))


def filled(path: str, values: Mapping[str, object]) -> str:
    """Put values, each named in either spelling, into a path."""
    return re.sub(r"{(\w+)}", lambda name: str(values.get(snake(name[1])) or values.get(name[1])), path)
