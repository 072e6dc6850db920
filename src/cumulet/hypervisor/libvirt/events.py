"""Tells that a machine may have changed, so that nobody must wait for the next sweep.

    libvirtd ──event──▶ callback ──▶ listeners
    libvirtd dies ──▶ watcher: ask until it answers ──▶ tell of every machine, for missed events are never replayed

Callbacks run in libvirt's event thread and must not ask libvirt anything there. What an event says is not passed on:
who is told goes and looks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

import libvirt
import libvirt_qemu
import msgspec

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.libvirt.connection import notice_silence
from cumulet.hypervisor.libvirt.domain_xml import AGENT_ALIAS
from cumulet.hypervisor.libvirt.paths import HostPaths

RETRY_SECONDS: Final = 0.5
WATCHED: Final = frozenset(
    {
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
        libvirt.VIR_DOMAIN_EVENT_SUSPENDED,
        libvirt.VIR_DOMAIN_EVENT_CRASHED,
        libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED,
    }
)
"""What happens to a machine against, or without, our will; starts and definitions are our own doing."""


class PortChange(msgspec.Struct):
    """QEMU's event of a guest that opened or closed its end of a channel."""

    id: str
    open: bool


class Changes:
    """The listeners of one host, and the thread that watches over its connection."""

    def __init__(self, paths: HostPaths, list_machines: Callable[[], Iterable[UUID]]) -> None:
        """`list_machines` asks the host, over the connection that `register` is given, reopening it if need be."""
        self._paths = paths
        self._list_machines = list_machines
        self._listeners: list[Callable[[UUID], None]] = []
        self._registrations = 0
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="libvirt-watch", daemon=True)

    def listen(self, notify: Callable[[UUID], None]) -> None:
        """Call `notify` for each change from now on, from the thread that noticed it."""
        self._listeners.append(notify)
        if not self._watcher.is_alive():
            self._watcher.start()
        self._woken.set()

    def register(self, link: libvirt.virConnect) -> None:
        """Ask a newly opened connection for its events."""
        notice_silence(link)
        link.registerCloseCallback(self._on_close, None)
        lifecycle = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        link.domainEventRegisterAny(None, lifecycle, self._on_lifecycle, None)
        libvirt_qemu.qemuMonitorEventRegister(link, None, "VSERPORT_CHANGE", self._on_port, None)
        removed = libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED
        link.domainEventRegisterAny(None, removed, self._on_device_removed, None)
        self._registrations += 1
        self._woken.set()

    def notify_all(self, vm_id: UUID) -> None:
        """Call all who listen."""
        for notify in list(self._listeners):
            notify(vm_id)

    def close(self) -> None:
        """Stop watching; nobody is told anything any more."""
        self._stopped.set()
        self._woken.set()
        self._listeners.clear()

    def _on_lifecycle(
        self, _link: libvirt.virConnect, domain: libvirt.virDomain, event: int, _detail: int, _: object
    ) -> None:
        if event in WATCHED:
            self._notify_of(domain)

    def _on_port(
        self,
        _link: libvirt.virConnect,
        domain: libvirt.virDomain,
        _event: str,
        _seconds: int,
        _micros: int,
        details: str,
        _: object,
    ) -> None:
        change = msgspec.json.decode(details, type=PortChange)
        if change.open and change.id == AGENT_ALIAS:
            self._notify_of(domain)

    def _on_device_removed(
        self, _link: libvirt.virConnect, domain: libvirt.virDomain, _alias: str, _: object
    ) -> None:
        self._notify_of(domain)

    def _on_close(self, _link: libvirt.virConnect, _reason: int, _: object) -> None:
        self._woken.set()

    def _notify_of(self, domain: libvirt.virDomain) -> None:
        if self._paths.is_ours(domain.name()):
            self.notify_all(UUID(bytes=domain.UUID()))

    def _watch(self) -> None:
        registered = self._registrations
        while not self._stopped.is_set():
            self._woken.wait()
            self._woken.clear()
            try:
                machines = self._list_machines()
            except HypervisorError:  # still away: that is what we wait for
                self._stopped.wait(RETRY_SECONDS)
                self._woken.set()
                continue
            if registered != self._registrations:
                registered = self._registrations
                for vm_id in machines:
                    self.notify_all(vm_id)
