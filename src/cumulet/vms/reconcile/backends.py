"""What the reconcilers of VMs and hosts work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from cumulet.hypervisor import HostUnreachable
from cumulet.hypervisor import Hypervisor as Host
from cumulet.hypervisor.carrier import Carrier
from cumulet.hypervisor.journey import Journeys
from cumulet.images import ImageStore
from cumulet.networks import Fabrics
from cumulet.vms.reconcile.silence import PowerOff


@dataclass(frozen=True, slots=True)
class Backends:
    """Everything a VM's reconciler touches besides the database."""

    hosts: Mapping[UUID, Host]
    fabrics: Fabrics
    images: ImageStore
    silent: Mapping[UUID, str] = field(default_factory=dict)
    """Hosts that did not answer when they were asked last, and why."""
    power_off: PowerOff | None = None
    """Cuts the power of hosts that stay silent; None where nobody said how."""
    carrier: Carrier = field(default_factory=Carrier)
    journeys: Journeys = field(default_factory=Journeys)
    repair: Callable[[], object] = lambda: None
    """Brings back what a host that does not answer may lack: daemons of this machine."""

    def host(self, host_id: UUID) -> Host:
        """Give the door to a host; HostUnreachable when this process has none to it, or nobody answered there last."""
        if problem := self.silent.get(host_id):
            raise HostUnreachable(problem)
        if host_id not in self.hosts:
            why = "its host is not configured any more"
            raise HostUnreachable(why, for_owner=why)
        return self.hosts[host_id]
