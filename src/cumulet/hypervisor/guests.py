"""Guests of machines that run, as far as their agents answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Guest:
    """What the guest itself says through its agent."""

    agent: bool
    """The agent answers."""
    first_boot_done: bool
    start_script_status: int | None
    """Exit status of the start script; None while it has not ended, or if there is none."""
    stage: str = ""
    """Where the first boot is: cloud-init's own word, or `start-script` while that runs; `""` if it says nothing."""
    has_address: bool | None = None
    """A NIC has an IPv4 address; None when the guest does not say."""
    problems: tuple[str, ...] = ()
    """What cloud-init complained of."""
    log: str = ""
    """The last lines that the first boot wrote to its log."""


NO_GUEST = Guest(agent=False, first_boot_done=False, start_script_status=None)


class Guests(Protocol):
    """Guests on one host."""

    def ask(self, vm_id: UUID) -> Guest:
        """Ask the guest's agent how it is; `NO_GUEST` when it does not answer within a second or two."""

    def ping(self, vm_id: UUID) -> float | None:
        """How many milliseconds the guest's agent takes to answer; None when it does not within a second or two."""

    def why_left_alone(self, vm_id: UUID) -> str:
        """Why the guest's agent is asked nothing until the machine's next start; `""` when it is asked.

        An agent is left alone once it has sent what no agent sends; who listens to `on_change` is told.
        """

    def set_password(self, vm_id: UUID, password_hash: str) -> None:
        """Have the guest take a hash as root's password; GuestSilent, GuestRefused."""

    def replace_keys(self, vm_id: UUID, keys: Sequence[str], *, instead_of: Sequence[str]) -> None:
        """Have root's SSH keys of the guest be `keys` in the place of others; GuestSilent, GuestRefused.

        Keys that are in neither list stay as they are.
        """
