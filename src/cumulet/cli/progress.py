"""Steps on stderr while somebody waits: a line when one is done, and on a terminal also what is under way."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cumulet.cli.output import printable, span

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Tells steps; `timings` keeps how long each part took."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._live: Status | None = None

    def step(self, words: str, seconds: float) -> None:
        """Tell a step that is done, and how long it took."""
        self.say(f"{span(seconds):>10}  {words}")

    def say(self, line: str) -> None:
        """Tell a line that stays."""
        print(printable(line), file=sys.stderr, flush=True)  # noqa: T201 - what this class is for

    def under_way(self, words: str) -> None:
        """Show what is under way until it is done or something else is; only where somebody watches."""
        if self._live is not None:
            from rich.text import Text  # noqa: PLC0415 - only a terminal needs it

            self._live.update(Text(printable(words)))

    def begin(self, words: str) -> None:
        """Tell what begins now: where somebody watches in a line that changes, else in one that stays."""
        if self._live is None:
            self.say(f"{'':>10}  {words}")
        else:
            self.under_way(words)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure a part of the work and tell when it is done."""
        begun = time.monotonic()
        yield
        self.timings[name] = time.monotonic() - begun
        self.step(name, self.timings[name])

    @contextmanager
    def live(self, words: str) -> Iterator[None]:
        """Keep a line at the bottom of the terminal for what is under way."""
        if not sys.stderr.isatty():
            yield
            return
        from rich.console import Console  # noqa: PLC0415 - likewise

        with Console(stderr=True).status("") as self._live:
            self.under_way(words)
            yield
        self._live = None
