"""The agents of a host's guests: where each is reached, and which are left alone.

A guest whose agent sends what no agent sends is asked nothing more until its machine's next start. libvirtd does not
speak with them: it knows the channel by a name of ours, under which it looks for nobody (`domain_xml`). A machine that
was started before that was so has its agent's channel in libvirtd's hands, and is asked nothing either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID
from xml.etree import ElementTree as ET

import libvirt

from cumulet.hypervisor.libvirt.agent import Agent, AgentRefuses, AgentSilent, OutOfBounds, conversation
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.domain_xml import AGENT_CHANNEL, AGENT_PORT, NAMESPACE
from cumulet.hypervisor.libvirt.domains import absent_is_fine

OF_LIBVIRTD: Final = "its agent is available again once it was stopped and started"


class AgentLeftAlone(AgentRefuses):
    """The agent is asked nothing until its machine's next start."""


@dataclass(frozen=True, slots=True)
class Channel:
    """The agent's channel of one start of a machine."""

    path: Path
    """QEMU's socket."""
    open: bool
    """The guest has opened its end: there is an agent."""
    started: str
    """The number of the start."""


class Agents:
    """The agents of one host; what they do wrong is remembered until their machines' next start."""

    def __init__(self, connection: Connection, *, on_breach: Callable[[UUID], object]) -> None:
        """`on_breach` is called with the VM whose agent is left alone from now on."""
        self._connection = connection
        self._on_breach = on_breach
        self._breaches: dict[UUID, tuple[str, str]] = {}

    @contextmanager
    def speak_with(self, vm_id: UUID, *, seconds: float) -> Iterator[Agent]:
        """Begin a conversation; AgentSilent when there is nobody, AgentLeftAlone when there shall be none."""
        channel = self._connection.call(lambda link: find_channel(link, vm_id))
        if not channel.open:
            raise AgentSilent("the guest has no agent, or it has not started yet")
        if why := self._breach_of(vm_id, channel.started):
            raise AgentLeftAlone(why)
        try:
            with conversation(channel.path, seconds=seconds) as agent:
                yield agent
        except OutOfBounds as breach:
            why = f"the guest's agent is ignored until the next start: {breach}, which no agent should"
            self._breaches[vm_id] = channel.started, why
            self._on_breach(vm_id)
            raise AgentLeftAlone(why) from breach

    def is_there(self, vm_id: UUID) -> bool:
        """Whether the guest has an agent, which may only take its time."""
        with suppress(AgentSilent):
            return self._connection.call(lambda link: find_channel(link, vm_id)).open
        return False

    def why_left_alone(self, vm_id: UUID) -> str:
        """Why the agent is asked nothing until the next start; `""` when it is asked."""
        with suppress(AgentSilent):
            if vm_id in self._breaches:
                channel = self._connection.call(lambda link: find_channel(link, vm_id))
                return self._breach_of(vm_id, channel.started)
        return ""

    def _breach_of(self, vm_id: UUID, started: str) -> str:
        start, why = self._breaches.get(vm_id, ("", ""))
        if start != started:
            self._breaches.pop(vm_id, None)
            return ""
        return why


def find_channel(link: libvirt.virConnect, vm_id: UUID) -> Channel:
    """Look where a machine's agent is reached; AgentSilent when nowhere."""
    with absent_is_fine():
        return read_channel(link.lookupByUUID(vm_id.bytes).XMLDesc())
    raise AgentSilent(f"the host has no machine for VM {vm_id}")


def read_channel(xml: str) -> Channel:
    """Read of a running domain's XML where its agent is reached; AgentSilent when nowhere."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's
    mark = domain.find(f"metadata/{{{NAMESPACE}}}vm")
    for channel in domain.iterfind("devices/channel"):
        source, target = channel.find("source"), channel.find("target")
        name = "" if target is None else target.get("name", "")
        if name == AGENT_PORT:
            raise AgentSilent(OF_LIBVIRTD)
        if name == AGENT_CHANNEL and source is not None and target is not None:
            return Channel(
                Path(source.get("path", "")),
                open=target.get("state") == "connected",
                started="" if mark is None else mark.get("started", ""),
            )
    raise AgentSilent("the guest is off")
