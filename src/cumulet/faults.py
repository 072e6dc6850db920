"""What hosts and fabrics in memory have in common: verbs are counted, and fail where and when a test wants them to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V", bound="HasVerbs")


@dataclass(frozen=True, slots=True)
class _Fault:
    """A failure that waits for its call."""

    call: int
    error: BaseException
    after: bool


class HasVerbs(Protocol):
    """What can fail, or a part of it."""

    @property
    def faulty(self) -> Faulty:
        """The whole that its verbs are counted for."""


def verb(body: Callable[Concatenate[V, P], R]) -> Callable[Concatenate[V, P], R]:
    """Count the call, let it fail where a lever says so, and tell afterwards what changed."""

    @wraps(body)
    def counted(self: V, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.faulty.run_verb(lambda: body(self, *args, **kwargs))

    return counted


class Faulty:
    """What can fail."""

    def __init__(self, silence: Callable[[], Exception]) -> None:
        """Make it; `silence` gives what each verb raises while it does not answer."""
        self.unreachable = False
        """Lever: it does not answer."""
        self.call_count = 0
        """Verbs called so far."""
        self._silence = silence
        self._lock = threading.RLock()
        self._fault: _Fault | None = None

    @property
    def faulty(self) -> Faulty:
        """Itself."""
        return self

    def run_verb(self, body: Callable[[], R]) -> R:
        """Do what a verb does, unless that call is to fail."""
        with self._lock:
            fault = self._count_call()
            if fault and not fault.after:
                raise fault.error
            result = body()
        self._notify_changes()
        if fault:
            raise fault.error
        return result

    @contextmanager
    def answering_meanwhile(self) -> Iterator[None]:
        """Answer others while a verb waits for somebody else."""
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()

    def crash_on_call(self, n: int, error: BaseException, *, after: bool) -> None:
        """Raise `error` at the n-th verb call from now (1 is the next), before or after that call's effect."""
        with self._lock:
            self._fault = _Fault(self.call_count + n, error, after)

    def _count_call(self) -> _Fault | None:
        """Count a verb's call; gives the failure that waited for it."""
        self.call_count += 1
        if self.unreachable:
            raise self._silence()
        if self._fault is None or self._fault.call != self.call_count:
            return None
        fault, self._fault = self._fault, None
        return fault

    def _notify_changes(self) -> None:
        """Tell whoever listens what a verb changed: nobody does here."""
