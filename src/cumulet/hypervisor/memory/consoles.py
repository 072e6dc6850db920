"""Consoles on a host in memory."""

from __future__ import annotations

import socket
from uuid import UUID

from cumulet.faults import verb
from cumulet.hypervisor import (
    MachineOff,
    Power,
)
from cumulet.hypervisor.memory.contents import Machine
from cumulet.hypervisor.memory.lines import made_up_picture
from cumulet.hypervisor.memory.state import Part


class MemoryConsoles(Part):
    """Consoles on one host."""

    @verb
    def open_screen(self, vm_id: UUID) -> socket.socket:
        """Open a line that greets as a screen does."""
        return self._state.lines.open_screen(self._find_running(vm_id).spec.id)

    @verb
    def open_serial(self, vm_id: UUID) -> socket.socket:
        """Open the line to the serial console, taking it over."""
        return self._state.lines.open_serial(self._find_running(vm_id).spec.id)

    @verb
    def screenshot(self, vm_id: UUID) -> bytes:
        """Make up a picture, another one for each start."""
        return made_up_picture(self._find_running(vm_id).started)

    @verb
    def log(self, vm_id: UUID, *, max_bytes: int) -> bytes:
        """Answer the newest lines: one for each start."""
        return bytes(self._contents.consoles.get(vm_id, b"")[-max_bytes:])

    @verb
    def bring_log(self, vm_id: UUID, content: bytes) -> None:
        """Begin the console, unless it has begun."""
        self._contents.consoles.setdefault(vm_id, bytearray(content))

    @verb
    def remove_log(self, vm_id: UUID) -> None:
        """Forget the console."""
        self._contents.consoles.pop(vm_id, None)

    def _find_running(self, vm_id: UUID) -> Machine:
        machine = self._contents.find_machine(vm_id)
        if machine.power is Power.OFF:
            raise MachineOff(f"the machine of VM {vm_id} is off")
        return machine
