"""A host in memory that can fail, and that tells of its machines when they change."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from cumulet.faults import Faulty
from cumulet.hypervisor import HostUnreachable


class FaultyHost(Faulty):
    """A host that can fail. `notify` of `on_change` is called in the thread that caused the change."""

    def __init__(self) -> None:
        super().__init__(lambda: HostUnreachable("the host does not answer"))
        self._listeners: list[Callable[[UUID], None]] = []
        self._changed: list[UUID] = []

    def on_change(self, notify: Callable[[UUID], None]) -> None:
        """Call `notify(vm id)` when a machine changed by itself or its guest came up."""
        self._listeners.append(notify)

    def _tell_changes(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, []
        for vm_id in changed:
            for notify in self._listeners:
                notify(vm_id)
