"""Guests on a host in memory: what they answer, and what the levers have them do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cumulet.faults import verb
from cumulet.hypervisor import (
    NO_GUEST,
    Guest,
    GuestRefused,
    GuestSilent,
    Power,
)
from cumulet.hypervisor.memory.contents import Machine
from cumulet.hypervisor.memory.made_up import exit_status_of
from cumulet.hypervisor.memory.state import Part

LEFT_ALONE: Final = "the guest's agent is ignored until the next start: it is wild, which no agent is"


class MemoryGuests(Part):
    """Guests on one host."""

    @verb
    def ask(self, vm_id: UUID) -> Guest:
        """Answer as a guest that takes a moment to boot and whose start script does nothing but its last `exit`."""
        machine = self._contents.machines.get(vm_id)
        if machine is None or machine.power is not Power.RUNNING:
            return NO_GUEST
        machine.looks += 1
        if not self._agent_answers(machine):
            return NO_GUEST
        if self._state.booting:
            return self._state.booting
        status = exit_status_of(machine.start_script) if machine.start_script else None
        return Guest(agent=True, first_boot_done=True, start_script_status=status, has_address=True)

    @verb
    def why_left_alone(self, vm_id: UUID) -> str:
        """Say whether the agent was wild in this start."""
        machine = self._contents.machines.get(vm_id)
        is_left_alone = machine and machine.started and self._state.left_alone.get(vm_id) == machine.started
        return LEFT_ALONE if is_left_alone else ""

    @verb
    def set_password(self, vm_id: UUID, password_hash: str) -> None:
        """Let the guest take the password."""
        self._find_willing(vm_id).password_hash = password_hash

    @verb
    def replace_keys(self, vm_id: UUID, keys: Sequence[str], *, instead_of: Sequence[str]) -> None:
        """Let the guest take the keys."""
        machine = self._find_willing(vm_id)
        kept = [key for key in machine.keys or () if key not in instead_of]
        machine.keys = tuple(dict.fromkeys([*kept, *keys]))

    @verb
    def ping(self, vm_id: UUID) -> float | None:
        """Answer in no time, or not at all."""
        machine = self._contents.machines.get(vm_id)
        return 1.0 if machine and self._agent_answers(machine) else None

    def _find_willing(self, vm_id: UUID) -> Machine:
        machine = self._contents.find_machine(vm_id)
        if not self._agent_answers(machine):
            if vm_id in self._state.left_alone:
                raise GuestRefused(LEFT_ALONE)
            raise GuestSilent("the guest's agent does not answer")
        if self._state.stubborn:
            raise GuestRefused("the guest refuses: it is stubborn")
        return machine

    def _agent_answers(self, machine: Machine) -> bool:
        vm_id = machine.spec.id
        if self._state.left_alone.get(vm_id) == machine.started:
            return False
        self._state.left_alone.pop(vm_id, None)
        if self._state.wild and machine.answers:
            self._state.left_alone[vm_id] = machine.started
            self._state.changed.append(vm_id)
        return machine.answers and not self._state.mute and not self._state.wild
