"""Seeds on a host: what its guests learn about themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Seed:
    """What a guest learns about itself at its first boot (NoCloud). Holds secrets: never logged."""

    vm_id: UUID
    instance_id: str
    """A new one makes the guest run its first boot again."""
    hostname: str
    ssh_keys: tuple[str, ...]
    password_hash: str
    """Of root, as crypt(3) writes it (`$6$…`); `""` for none. The clear text is nowhere."""
    start_script: str
    """Shell commands, no shebang needed, or other user data (`parts_of`); `""` for none."""

    def without_secrets(self) -> Seed:
        """What a guest needs to know itself again once its first boot is over."""
        return replace(self, password_hash="", start_script="")

    def __repr__(self) -> str:
        """Tell nothing that is secret."""
        return f"Seed(vm_id={self.vm_id})"


class Seeds(Protocol):
    """Seeds on one host."""

    def write(self, seed: Seed) -> None:
        """Write the VM's seed, replacing an earlier one."""

    def remove(self, vm_id: UUID) -> None:
        """Remove the VM's seed, if it is there."""

    def list(self) -> frozenset[UUID]:
        """VMs that have a seed on the host."""
