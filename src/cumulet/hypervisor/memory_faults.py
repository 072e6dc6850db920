"""What all verbs of a host in memory have in common: they are counted, and fail where and when a test wants them to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from cumulet.hypervisor import HostUnreachable

P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", bound="FaultyHost")


@dataclass(slots=True)
class _Fault:
    """A failure that waits for its call."""

    call: int
    error: BaseException
    after: bool


def verb(body: Callable[Concatenate[H, P], R]) -> Callable[Concatenate[H, P], R]:
    """Count the call, let it fail where a lever says so, and tell afterwards whose machine changed."""

    @wraps(body)
    def counted(self: H, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            fault = self._count_call()
            if fault and not fault.after:
                raise fault.error
            result = body(self, *args, **kwargs)
        self._tell_changes()
        if fault:
            raise fault.error
        return result

    return counted


class FaultyHost:
    """A host that can fail. `notify` of `on_change` is called in the thread that caused the change."""

    def __init__(self, name: str) -> None:
        self.unreachable = False
        """Lever: every verb raises HostUnreachable."""
        self.call_count = 0
        """Verbs called so far."""
        self._name = name
        self._lock = threading.RLock()
        self._fault: _Fault | None = None
        self._listeners: list[Callable[[UUID], None]] = []
        self._changed: list[UUID] = []

    def crash_on_call(self, n: int, error: BaseException, *, after: bool) -> None:
        """Raise `error` at the n-th verb call from now (1 is the next), before or after that call's effect."""
        with self._lock:
            self._fault = _Fault(self.call_count + n, error, after)

    def on_change(self, notify: Callable[[UUID], None]) -> None:
        """Call `notify(vm id)` when a machine changed by itself or its guest came up."""
        self._listeners.append(notify)

    def _count_call(self) -> _Fault | None:
        self.call_count += 1
        if self.unreachable:
            raise HostUnreachable(f"{self._name} does not answer")
        if self._fault is None or self._fault.call != self.call_count:
            return None
        fault, self._fault = self._fault, None
        return fault

    def _tell_changes(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, []
        for vm_id in changed:
            for notify in self._listeners:
                notify(vm_id)
