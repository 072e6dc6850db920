"""Who may enter a guest that runs: its agent sets root's password and keys, by the commands that it has for just that.

No program is run in the guest: many distributions forbid that to the agent, but not these commands.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from cumulet.hypervisor import GuestRefused, GuestSilent
from cumulet.hypervisor.libvirt.agent import Agent, AgentRefuses, AgentSilent
from cumulet.hypervisor.libvirt.agents import AgentLeftAlone, Agents

USER: Final = "root"
AGENT_SECONDS: Final = 5.0
"""The agent starts programs for this, and the guest may be emulated."""


def set_password(agents: Agents, vm_id: UUID, password_hash: str) -> None:
    """Have the guest take a hash as root's password."""
    encoded = b64encode(password_hash.encode()).decode()
    with speaking_of_guests(agents, vm_id) as agent:
        agent.ask("guest-set-user-password", dict, username=USER, password=encoded, crypted=True)


def replace_keys(agents: Agents, vm_id: UUID, keys: Sequence[str], *, instead_of: Sequence[str]) -> None:
    """Have the guest let keys in, and then others no longer: who asks is never locked out in between."""
    gone = [key for key in instead_of if key not in keys]
    with speaking_of_guests(agents, vm_id) as agent:
        for command, these in (
            ("guest-ssh-add-authorized-keys", list(keys)),
            ("guest-ssh-remove-authorized-keys", gone),
        ):
            if these:
                agent.ask(command, dict, username=USER, keys=these)


@contextmanager
def speaking_of_guests(agents: Agents, vm_id: UUID) -> Iterator[Agent]:
    """Speak with an agent, and tell who asked what it did."""
    try:
        with agents.speak_with(vm_id, seconds=AGENT_SECONDS) as agent:
            yield agent
    except AgentSilent as silence:
        raise GuestSilent(f"the guest's agent does not answer ({silence})") from silence
    except AgentLeftAlone as why:
        raise GuestRefused(str(why)) from why
    except AgentRefuses as refusal:
        raise GuestRefused(f"the guest refuses: {refusal}") from refusal
