"""Hosts as JSON. The contract has none of this: it is the operator's."""

from __future__ import annotations

from datetime import datetime

from cumulet.doctor.calls import Level
from cumulet.hosts import HostState, HostWanted
from cumulet.vm_record.wire import VmState
from cumulet.wire import Wire


class HostPool(Wire):
    """A disk pool of a host."""

    id: str
    disk_gib: int
    """What there is for disks; 0 for one that is not mounted."""
    reserved_disk_gib: int


class HostFinding(Wire):
    """What its doctor found on a host that is not well."""

    name: str
    level: Level
    text: str
    cost: str
    """What it costs while VMs run nevertheless."""
    cure: str
    """The command, or the step, that mends it; empty where none is in the operator's hands."""


class HostAnswer(Wire, kw_only=True):
    """A host."""

    id: str
    data_center_id: str
    state: HostState
    state_time: datetime
    """Since when it is in that state."""
    why: str
    """The reason for it, or why the last look got no answer; `""` when there is nothing to say."""
    wanted: HostWanted
    """What its operator asks of it, which counts again when it answers."""
    labels: dict[str, str]
    seen_time: datetime
    """When it last answered."""
    cpu_model: str
    cpu_group: str
    """The same on hosts between which a VM can be moved while it runs."""
    accelerator: str
    version: str
    boot_id: str
    cpus: int
    reserved_cpus: float
    """Cores that its VMs weigh; a machine type says how many vCPUs weigh one."""
    memory_gib: float
    reserved_memory_gib: float
    disk_pools: list[HostPool]
    gpus: int
    held_gpus: int
    """Of those, how many VMs hold."""
    vms: int
    running_vms: int
    """Of those, how many are to run."""
    examined_time: datetime | None
    """When its doctor looked at it last."""
    findings: list[HostFinding]
    strays: dict[str, list[str]]
    """By kind, the ids of what is ours on it and was never known to this database: it is kept as it is."""
    central: bool
    """It has OVN's databases."""
    to_be_central: bool
    """It is to have them."""
    proved_until: datetime | None
    """When the first of the certificates ends by which OVN knows it; they are made anew long before."""


class ListHostsResponse(Wire):
    """A page of hosts."""

    hosts: list[HostAnswer]
    page_token: str
    page_size: int


class HostVm(Wire, kw_only=True):
    """A virtual machine that is on a host."""

    project_id: str
    id: str
    state: VmState


class HostImage(Wire):
    """A copy of an image on a host, for disks to be based on."""

    host_id: str
    sha256: str
    id: str
    """The public image that has this content, or `PROJECT:IMAGE`; empty for an earlier version of one."""
    size_gib: float
    last_used_time: datetime
    """When a VM of the host was last based on it, within an hour."""


class ListImageCopiesResponse(Wire):
    """Copies of images on all hosts, the last used first."""

    image_id: str
    """The image that was asked for, by its own id; empty where all were."""
    copies: list[HostImage]


class GetHostResponse(Wire):
    """A host, and what keeps it from being removed."""

    host: HostAnswer
    destination: str
    """Where its SSH answers; empty for the machine that the server is on."""
    host_key: str
    """The fingerprint of the key that it proves itself by; empty while none is pinned."""
    remains: list[str]
    """What is on it, in words: `3 VMs`, `a disk`."""
    stays: dict[str, str]
    """Of one that is drained: virtual machines that cannot go, as `PROJECT:VM`, and why."""
    vms: list[HostVm]
    """Those that are on it, by project and id; what else is said of one is told by GetVM."""
    images: list[HostImage]


class AskOfHost(Wire):
    """Why a host is cordoned."""

    reason: str = ""
    """For those who find it so later."""


class DrainHost(AskOfHost):
    """Why a host is drained, and at what price."""

    restart: bool = False
    """VMs that run are shut down for it, moved, and started again; without it they stay until they are stopped."""


class LabelHost(Wire):
    """Labels of a host, all of them."""

    labels: dict[str, str]


class LoseHost(Wire):
    """The operator's word that nothing runs on a host any more."""

    confirm: str
    """The host's id once more: whoever is wrong about it has VMs run twice and destroys what they write."""


class ChooseCentral(Wire):
    """Hosts that are to have OVN's databases."""

    hosts: list[str]
    """One, or three, which have them together."""


class AddHost(Wire):
    """A machine that is to be a host."""

    destination: str
    """`[root@]HOST[:PORT]`, where its SSH answers."""
    id: str = ""
    """What the machine calls itself; the first part of HOST unless something else is said."""
    data_center_id: str = ""
    """The first one unless another is said."""
    labels: dict[str, str] = {}
    host_key: str = ""
    """The key that it proves itself by, as in known_hosts; whatever it shows first, unless this is said."""


class GetHostKeyResponse(Wire):
    """What lets this server in at hosts."""

    public_key: str
    """A line of authorized_keys."""
