"""What the guest's agent says, asked with short patience: a guest may be booting, hung, hostile, or have no agent."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Final, TypeVar
from uuid import UUID

import libvirt
import libvirt_qemu
import msgspec

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
LARGEST_STATUS: Final = 255
READ_BYTES: Final = 16

T = TypeVar("T")


class AgentSilent(Exception):
    """The agent does not answer."""


class AgentRefuses(Exception):
    """The agent answers that it cannot, for instance open a file that is not there, or answers nonsense."""


class Reply(msgspec.Struct):
    """What comes back from a guest, which may be hostile: nothing in it is believed unread."""

    value: msgspec.Raw = msgspec.field(name="return")


class FileRead(msgspec.Struct):
    """The answer to guest-file-read; msgspec undoes the base64."""

    content: bytes = msgspec.field(name="buf-b64")


def ask_guest(link: libvirt.virConnect, vm_id: UUID) -> Guest:
    """Ask the guest how far it is."""
    with absent_is_fine(), suppress(AgentSilent, AgentRefuses):
        domain = link.lookupByUUID(vm_id.bytes)
        ask(domain, "guest-ping", dict)
        if read_file(domain, FIRST_BOOT_DONE) is None:
            return Guest(agent=True, first_boot_done=False, start_script_status=None)
        status = read_status(read_file(domain, SCRIPT_STATUS) or b"")
        return Guest(agent=True, first_boot_done=True, start_script_status=status)
    return NO_GUEST


def press_power_button(link: libvirt.virConnect, vm_id: UUID) -> None:
    """Ask the guest to power off in both ways there are: some obey only their agent, some only ACPI."""
    domain = find_domain(link, vm_id)
    with off_is_fine():
        with suppress(AgentSilent, AgentRefuses):
            ask(domain, "guest-ping", dict)
            shut_down_by_agent(domain)
        domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)


def shut_down_by_agent(domain: libvirt.virDomain) -> None:
    """Have an agent that answers shut the guest down; what it says to that does not matter, for ACPI comes next."""
    domain.agentSetResponseTimeout(PATIENCE_SECONDS)
    try:
        domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
    except libvirt.libvirtError as error:
        if not has_code(error, *SILENCE, libvirt.VIR_ERR_INTERNAL_ERROR):
            raise


def read_status(content: bytes) -> int | None:
    """An exit status as the guest wrote it down; None when it is none."""
    digits = content.strip()
    status = int(digits) if digits.isdigit() else -1
    return status if 0 <= status <= LARGEST_STATUS else None


def read_file(domain: libvirt.virDomain, path: str) -> bytes | None:
    """The beginning of a guest's file; None when the agent cannot read it."""
    try:
        handle = ask(domain, "guest-file-open", int, path=path, mode="r")
        read = ask(domain, "guest-file-read", FileRead, handle=handle, count=READ_BYTES)
        ask(domain, "guest-file-close", dict, handle=handle)
    except AgentRefuses:
        return None
    return read.content


def ask(domain: libvirt.virDomain, command: str, answer: type[T], **arguments: object) -> T:
    """Put one question to the agent; AgentSilent or AgentRefuses when it does not answer it."""
    question = {"execute": command, **({"arguments": arguments} if arguments else {})}
    try:
        reply = libvirt_qemu.qemuAgentCommand(domain, json.dumps(question), PATIENCE_SECONDS, 0)
        return msgspec.json.decode(msgspec.json.decode(reply, type=Reply).value, type=answer)
    except libvirt.libvirtError as error:
        if has_code(error, *SILENCE):
            raise AgentSilent(str(error)) from error
        if has_code(error, libvirt.VIR_ERR_INTERNAL_ERROR):
            raise AgentRefuses(str(error)) from error
        raise
    except msgspec.MsgspecError as error:
        raise AgentRefuses(str(error)) from error
