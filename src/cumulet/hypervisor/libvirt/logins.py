"""Who may enter a guest that runs: its agent sets root's password and keys, by the commands that it has for just that.

No program is run in the guest: many distributions forbid that to the agent, but not these commands.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from uuid import UUID

import libvirt

from cumulet.hypervisor import GuestRefused, GuestSilent
from cumulet.hypervisor.libvirt.domains import find_domain
from cumulet.hypervisor.libvirt.guest import AgentRefuses, AgentSilent, ask

USER: Final = "root"
PATIENCE_SECONDS: Final = 5
"""The agent starts programs for this, and the guest may be emulated."""


def set_password(link: libvirt.virConnect, vm_id: UUID, password_hash: str) -> None:
    """Have the guest take a hash as root's password."""
    domain, encoded = find_domain(link, vm_id), b64encode(password_hash.encode()).decode()
    command = "guest-set-user-password"
    with in_words_of_guests():
        ask(domain, command, dict, patience=PATIENCE_SECONDS, username=USER, password=encoded, crypted=True)


def replace_keys(
    link: libvirt.virConnect, vm_id: UUID, keys: Sequence[str], *, instead_of: Sequence[str]
) -> None:
    """Have the guest let keys in, and then others no longer: who asks is never locked out in between."""
    domain = find_domain(link, vm_id)
    gone = [key for key in instead_of if key not in keys]
    with in_words_of_guests():
        for command, these in (
            ("guest-ssh-add-authorized-keys", list(keys)),
            ("guest-ssh-remove-authorized-keys", gone),
        ):
            if these:
                ask(domain, command, dict, patience=PATIENCE_SECONDS, username=USER, keys=these)


@contextmanager
def in_words_of_guests() -> Iterator[None]:
    """Tell who asked what the agent did."""
    try:
        yield
    except AgentSilent as silence:
        raise GuestSilent("the guest's agent does not answer") from silence
    except AgentRefuses as refusal:
        raise GuestRefused(f"the guest refuses: {refusal}") from refusal
