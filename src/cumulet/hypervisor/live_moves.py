"""Machines that go to another host while they run, with their memory and what their disks hold.

    source: prepare ─▶ open_gate … leave ──▶ off (MOVED)          │ a gate gives the machine's connections to the
    target: expect ──▶ enter … ───────────▶ ARRIVED ─▶ go_on      │ other host, which whoever carries them enters

The two hosts agree on nothing: until `go_on` the machine on the target is held still, and whoever moves it calls that only
when it is off on the source. So whatever breaks, what is seen on both tells how far it came, and it never runs twice.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cumulet.hypervisor.disks import DiskSpec
from cumulet.hypervisor.machines import DomainSpec


@dataclass(frozen=True, slots=True)
class Expected:
    """A machine as its other host takes it in, in the hypervisor's own language."""

    running: str
    """As it runs on from where it is."""
    defined: str
    """As it is defined there, for its next start."""
    copied: tuple[str, ...] = ()
    """Its disks whose content comes along."""


class LiveMoves(Protocol):
    """Machines of one host that leave it, or come to it, while they run."""

    def prepare(self, vm_id: UUID) -> str:
        """Open the gates of a machine that is to leave, and describe it as it runs, for `expect` there."""

    def expect(
        self,
        spec: DomainSpec,
        disks: Sequence[DiskSpec],
        running: str,
        *,
        shared: frozenset[UUID] = frozenset(),
    ) -> Expected:
        """Make empty disks for a machine that comes, and keep its term; the seed and the image's copy are there already.

        So are those disks that both hosts share: their content stays where it is.
        """

    def open_gate(self, vm_id: UUID) -> socket.socket:
        """Open a line that waits for a connection of the machine to its other host: a byte says where it enters, then it is that.

        It ends without a word once the machine has left, or stays. HypervisorError when its gates are not open.
        """

    def enter(self, vm_id: UUID, way: str) -> socket.socket:
        """Open the line that a connection of a coming machine goes on to, by the byte that its gate said."""

    def leave(
        self, vm_id: UUID, expected: Expected, hear: Callable[[float], None], *, term: int = 0
    ) -> float:
        """Send a machine through its gates and close them; returns once it is off here and held still there.

        `hear` is told how much of it is over. Answers for how many seconds it has stood still. HypervisorError when it
        stays; then it runs on. What becomes of it when this host, or the line, breaks meanwhile is seen on both hosts.
        """

    def stay(self, vm_id: UUID) -> None:
        """Have a machine that is leaving stay, if it still can; its gates are closed."""

    def go_on(self, vm_id: UUID, *, term: int = 0) -> None:
        """Let a machine go on that a move has left held still: there, or here where it did not leave."""
