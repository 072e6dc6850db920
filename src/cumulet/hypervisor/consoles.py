"""Consoles of machines: their screens, their serial lines, and what these have printed."""

from __future__ import annotations

import socket
from typing import Protocol
from uuid import UUID


class Consoles(Protocol):
    """Consoles on one host: each line ends when its machine does, or when its reader closes it."""

    def open_screen(self, vm_id: UUID) -> socket.socket:
        """Open a line to the machine's screen, keyboard and mouse: RFB without a password; MachineOff."""

    def open_serial(self, vm_id: UUID) -> socket.socket:
        """Open the line to the machine's serial console, from now on; an earlier one ends. MachineOff."""

    def screenshot(self, vm_id: UUID) -> bytes:
        """Take a picture of the machine's screen, as PNG; MachineOff."""

    def log(self, vm_id: UUID, *, max_bytes: int) -> bytes:
        """The newest bytes the guest wrote to its serial console; `b""` if there are none."""

    def bring_log(self, vm_id: UUID, content: bytes) -> None:
        """Begin the log with what the guest wrote elsewhere, unless it has begun."""

    def remove_log(self, vm_id: UUID) -> None:
        """Remove the serial console's log, if it is there."""
