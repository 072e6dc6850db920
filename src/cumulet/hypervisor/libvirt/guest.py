"""What the guest's agent says, asked with short patience: a guest may be booting, hung, hostile, or have no agent."""

from __future__ import annotations

import base64
import json
from typing import Any, Final
from uuid import UUID

import libvirt
import libvirt_qemu

from cumulet.hypervisor import NO_GUEST, Guest
from cumulet.hypervisor.libvirt.connection import has_code
from cumulet.hypervisor.libvirt.domains import absent_is_fine, find_domain, off_is_fine
from cumulet.hypervisor.libvirt.seed import FIRST_BOOT_DONE, SCRIPT_STATUS

PATIENCE_SECONDS: Final = 1
SILENCE: Final = (
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_AGENT_UNSYNCED,
    libvirt.VIR_ERR_OPERATION_INVALID,  # it does not run
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,  # it has no channel for an agent
)
STATUS_BYTES: Final = 16


class AgentSilent(Exception):
    """The agent does not answer."""


class AgentRefuses(Exception):
    """The agent answers that it cannot, for instance open a file that is not there."""


def ask_guest(link: libvirt.virConnect, vm_id: UUID) -> Guest:
    """Ask the guest how far it is."""
    with absent_is_fine():
        domain = link.lookupByUUID(vm_id.bytes)
        try:
            ask(domain, "guest-ping")
            return Guest(agent=True, **read_progress(domain))
        except AgentSilent:
            return NO_GUEST
    return NO_GUEST


def press_power_button(link: libvirt.virConnect, vm_id: UUID) -> None:
    """Ask the guest to power off in both ways there are: guests without an agent, or without ACPI, obey one of them."""
    domain = find_domain(link, vm_id)
    with off_is_fine():
        if answers(domain):
            domain.setAgentResponseTimeout(PATIENCE_SECONDS)
            try:
                domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
            except libvirt.libvirtError as error:
                if not has_code(error, *SILENCE, libvirt.VIR_ERR_INTERNAL_ERROR):
                    raise
        domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)


def answers(domain: libvirt.virDomain) -> bool:
    """Whether the agent answers."""
    try:
        ask(domain, "guest-ping")
    except AgentSilent:
        return False
    return True


def read_progress(domain: libvirt.virDomain) -> dict[str, Any]:
    """How far the first boot is."""
    if read_file(domain, FIRST_BOOT_DONE) is None:
        return {"first_boot_done": False, "start_script_status": None}
    status = (read_file(domain, SCRIPT_STATUS) or b"").strip()
    return {"first_boot_done": True, "start_script_status": int(status) if status.isdigit() else None}


def read_file(domain: libvirt.virDomain, path: str) -> bytes | None:
    """The beginning of a guest's file; None when it cannot be opened."""
    try:
        handle = ask(domain, "guest-file-open", path=path, mode="r")
    except AgentRefuses:
        return None
    try:
        answer = ask(domain, "guest-file-read", handle=handle, count=STATUS_BYTES)
        return base64.b64decode(answer["buf-b64"])
    finally:
        ask(domain, "guest-file-close", handle=handle)


def ask(domain: libvirt.virDomain, command: str, **arguments: object) -> Any:  # noqa: ANN401 - the agent's JSON
    """Put one question to the agent; AgentSilent or AgentRefuses when it does not answer it."""
    question = {"execute": command, **({"arguments": arguments} if arguments else {})}
    try:
        answer = libvirt_qemu.qemuAgentCommand(domain, json.dumps(question), PATIENCE_SECONDS, 0)
    except libvirt.libvirtError as error:
        if has_code(error, *SILENCE):
            raise AgentSilent from error
        if has_code(error, libvirt.VIR_ERR_INTERNAL_ERROR):
            raise AgentRefuses from error
        raise
    return json.loads(answer)["return"]
