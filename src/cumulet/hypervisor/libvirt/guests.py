"""What the guest's agent says, asked with short patience: a guest may be booting, hung, hostile, or have no agent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

import msgspec

from cumulet.hypervisor import NO_GUEST, Guest
from cumulet.hypervisor.libvirt import credentials
from cumulet.hypervisor.libvirt.agent import Agent, AgentRefuses, AgentSilent
from cumulet.hypervisor.libvirt.agents import Agents
from cumulet.hypervisor.libvirt.nocloud import FIRST_BOOT_DONE, SCRIPT_LOG, SCRIPT_STATUS

AGENT_SECONDS: Final = 5.0
"""For all that is asked at once: an emulated guest that boots takes its time."""
GOODBYE_SECONDS: Final = 1.0
LARGEST_STATUS: Final = 255
READ_BYTES: Final = 16
LOG_BYTES: Final = 2000
CLOUD_INIT_STATUS: Final = "/run/cloud-init/status.json"
CLOUD_INIT_LOG: Final = "/var/log/cloud-init-output.log"
LARGEST_CLOUD_INIT: Final = 64 * 1024
MOST_PROBLEMS: Final = 10
LONGEST_PROBLEM: Final = 300
LONGEST_STAGE: Final = 40

SELF_GIVEN: Final = ("127.", "169.254.")


class FileRead(msgspec.Struct):
    """The answer to guest-file-read; msgspec undoes the base64."""

    content: bytes = msgspec.field(name="buf-b64")


class FilePosition(msgspec.Struct):
    """The answer to guest-file-seek."""

    position: int


class Address(msgspec.Struct):
    """One address of a NIC."""

    address: str = msgspec.field(name="ip-address")

    def leads_somewhere(self) -> bool:
        """Whether it is of IPv4, which every network has, and not one that a NIC gives itself.

        An address of IPv6 says nothing: the kernel takes one even where nobody has set the network up.
        """
        return ":" not in self.address and not self.address.startswith(SELF_GIVEN)


class GuestNic(msgspec.Struct):
    """One NIC, as guest-network-get-interfaces tells it."""

    name: str
    addresses: list[Address] = msgspec.field(name="ip-addresses", default_factory=list)

    def leads_somewhere(self) -> bool:
        """Whether it has an address by which the guest reaches others."""
        return self.name != "lo" and any(one.leads_somewhere() for one in self.addresses)


class Stage(msgspec.Struct):
    """One stage of cloud-init."""

    errors: list[str] = []


class CloudInit(msgspec.Struct, rename="kebab"):
    """The first version of cloud-init's status, which all have written since."""

    stage: str | None = None
    init_local: Stage = msgspec.field(default_factory=Stage)
    init: Stage = msgspec.field(default_factory=Stage)
    modules_config: Stage = msgspec.field(default_factory=Stage)
    modules_final: Stage = msgspec.field(default_factory=Stage)

    def word(self) -> str:
        """Its word for where it is, as much of it as any version has written."""
        return (self.stage or "")[:LONGEST_STAGE].replace("\0", "")

    def problems(self) -> tuple[str, ...]:
        """What any stage complained of, as much of it as anybody reads."""
        stages = (self.init_local, self.init, self.modules_config, self.modules_final)
        errors = [error[:LONGEST_PROBLEM].replace("\0", "") for stage in stages for error in stage.errors]
        return tuple(errors[:MOST_PROBLEMS])


class CloudInitStatus(msgspec.Struct):
    """/run/cloud-init/status.json."""

    v1: CloudInit


class LibvirtGuests:
    """Guests on one host."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    def ask(self, vm_id: UUID) -> Guest:
        """Ask the guest's agent."""
        return ask_guest(self._agents, vm_id)

    def why_left_alone(self, vm_id: UUID) -> str:
        """Say why the guest's agent is asked nothing."""
        return self._agents.why_left_alone(vm_id)

    def set_password(self, vm_id: UUID, password_hash: str) -> None:
        """Have the guest take a password."""
        credentials.set_password(self._agents, vm_id, password_hash)

    def replace_keys(self, vm_id: UUID, keys: Sequence[str], *, instead_of: Sequence[str]) -> None:
        """Have the guest take keys in the place of others."""
        credentials.replace_keys(self._agents, vm_id, keys, instead_of=instead_of)

    def ping(self, vm_id: UUID) -> float | None:
        """Measure how quick the guest's agent is."""
        return ping(self._agents, vm_id)


def ask_guest(agents: Agents, vm_id: UUID) -> Guest:
    """Ask the guest how far it is."""
    with suppress(AgentSilent, AgentRefuses), agents.speak_with(vm_id, seconds=AGENT_SECONDS) as agent:
        done = read_file(agent, FIRST_BOOT_DONE) is not None
        cloud_init = read_cloud_init(read_file(agent, CLOUD_INIT_STATUS, count=LARGEST_CLOUD_INIT) or b"")
        script_log = read_end(agent, SCRIPT_LOG)
        return Guest(
            agent=True,
            first_boot_done=done,
            start_script_status=read_status(read_file(agent, SCRIPT_STATUS) or b"") if done else None,
            stage="" if done else "start-script" if script_log is not None else cloud_init.word(),
            has_address=ask_for_address(agent),
            problems=cloud_init.problems(),
            log=printable(script_log or read_end(agent, CLOUD_INIT_LOG) or b""),
        )
    return NO_GUEST


def ping(agents: Agents, vm_id: UUID) -> float | None:
    """How many milliseconds the agent takes to answer; None when it does not."""
    with suppress(AgentSilent, AgentRefuses), agents.speak_with(vm_id, seconds=AGENT_SECONDS) as agent:
        began = time.perf_counter()
        agent.ask("guest-ping", dict)
        return (time.perf_counter() - began) * 1000
    return None


def shut_down(agents: Agents, vm_id: UUID) -> None:
    """Ask the agent to power its guest off; it does so without a word."""
    with suppress(AgentSilent, AgentRefuses), agents.speak_with(vm_id, seconds=GOODBYE_SECONDS) as agent:
        agent.ask("guest-shutdown", dict, mode="powerdown")


def ask_for_address(agent: Agent) -> bool | None:
    """Whether a NIC has an IPv4 address that leads anywhere; None when the agent does not tell."""
    try:
        nics = agent.ask("guest-network-get-interfaces", list[GuestNic])
    except AgentRefuses:
        return None
    return any(nic.leads_somewhere() for nic in nics)


def read_cloud_init(content: bytes) -> CloudInit:
    """What cloud-init says of itself; nothing when it says nothing, or nonsense."""
    try:
        return msgspec.json.decode(content, type=CloudInitStatus).v1
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return CloudInit()


def printable(log: bytes) -> str:
    """The whole lines of the end of a log."""
    text = log.decode(errors="replace").replace("\0", "")
    return (text if len(log) < LOG_BYTES else text.partition("\n")[2]).strip()


def read_status(content: bytes) -> int | None:
    """An exit status as the guest wrote it down; None when it is none."""
    digits = content.strip()
    status = int(digits) if digits.isdigit() else -1
    return status if 0 <= status <= LARGEST_STATUS else None


def read_file(agent: Agent, path: str, *, count: int = READ_BYTES) -> bytes | None:
    """The first `count` bytes of a guest's file; None when the agent cannot read it."""
    try:
        handle = agent.ask("guest-file-open", int, path=path, mode="r")
        read = agent.ask("guest-file-read", FileRead, handle=handle, count=count)
        agent.ask("guest-file-close", dict, handle=handle)
    except AgentRefuses:
        return None
    return read.content[:count]


def read_end(agent: Agent, path: str) -> bytes | None:
    """The last bytes of a guest's file; None when the agent cannot read it."""
    try:
        handle = agent.ask("guest-file-open", int, path=path, mode="r")
        end = agent.ask("guest-file-seek", FilePosition, handle=handle, offset=0, whence="end").position
        begin = max(0, end - LOG_BYTES)
        agent.ask("guest-file-seek", FilePosition, handle=handle, offset=begin, whence="set")
        read = agent.ask("guest-file-read", FileRead, handle=handle, count=LOG_BYTES)
        agent.ask("guest-file-close", dict, handle=handle)
    except AgentRefuses:
        return None
    return read.content[:LOG_BYTES]
