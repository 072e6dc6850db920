"""Having a guest hold its file systems still for a moment: what is copied then is as after a clean unmount."""

from __future__ import annotations

from contextlib import suppress
from typing import Final
from uuid import UUID

import libvirt

from cumulet.hypervisor.libvirt.domains import absent_is_fine, find_running
from cumulet.hypervisor.libvirt.guest import AgentRefuses, AgentSilent, ask

FREEZE_SECONDS: Final = 10
"""A guest that writes a lot takes its time until all is on its disk."""


def freeze(link: libvirt.virConnect, vm_id: UUID) -> bool:
    """Ask the guest to hold still; says whether it does. Whoever asks must thaw, whatever the answer."""
    domain = find_running(link, vm_id)
    if domain is None:
        return False
    with suppress(AgentSilent, AgentRefuses):
        ask(domain, "guest-ping", dict)
        return ask(domain, "guest-fsfreeze-freeze", int, patience=FREEZE_SECONDS) > 0
    return False


def thaw(link: libvirt.virConnect, vm_id: UUID) -> bool:
    """Have the guest go on; False when it may still hold still: one that took too long to freeze may do so only now."""
    with absent_is_fine():
        domain = find_running(link, vm_id)
        return domain is None or is_thawed(domain)
    return True


def is_thawed(domain: libvirt.virDomain) -> bool:
    """Thaw, and say whether there is nothing more to do: a guest without a working agent was never frozen."""
    try:
        ask(domain, "guest-fsfreeze-thaw", int)
        return ask(domain, "guest-fsfreeze-status", str) == "thawed"
    except AgentRefuses:
        return True
    except AgentSilent:
        return not has_agent(domain)


def has_agent(domain: libvirt.virDomain) -> bool:
    """Whether the guest's end of the agent's channel is open: then the agent only takes its time."""
    return "state='connected'" in domain.XMLDesc()
