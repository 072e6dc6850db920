"""Having a guest hold its file systems still for a moment: what is copied then is as after a clean unmount."""

from __future__ import annotations

from contextlib import suppress
from typing import Final
from uuid import UUID

from cumulet.hypervisor.libvirt.agent import AgentRefuses, AgentSilent
from cumulet.hypervisor.libvirt.agents import Agents

FREEZE_SECONDS: Final = 10.0
"""A guest that writes a lot takes its time until all is on its disk."""
THAW_SECONDS: Final = 2.0


def freeze(agents: Agents, vm_id: UUID) -> bool:
    """Ask the guest to hold still; says whether it does. Whoever asks must thaw, whatever the answer."""
    with suppress(AgentSilent, AgentRefuses), agents.speak_with(vm_id, seconds=FREEZE_SECONDS) as agent:
        return agent.ask("guest-fsfreeze-freeze", int) > 0
    return False


def thaw(agents: Agents, vm_id: UUID) -> bool:
    """Have the guest go on; False when it may still hold still: one that took too long to freeze may do so only now.

    A guest that is off, or has no agent that works, was never frozen.
    """
    try:
        with agents.speak_with(vm_id, seconds=THAW_SECONDS) as agent:
            agent.ask("guest-fsfreeze-thaw", int)
            return agent.ask("guest-fsfreeze-status", str) == "thawed"
    except AgentRefuses:
        return True
    except AgentSilent:
        return not agents.is_there(vm_id)
