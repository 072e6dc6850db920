"""A VM's machine as libvirt's domain XML: pure, and compared whole with golden files.

Everything a guest gets beside its disk and NICs is decided here, once, for reasons that were measured: virtio
throughout, because the cloud kernels have little else; the seed as a read-only disk, because they have no AHCI for a
CD; no USB; spare PCIe root ports, because q35 takes a device while it runs only into a port that is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Final
from uuid import UUID
from xml.etree import ElementTree as ET

from cumulet.hypervisor import (
    MOST_STORAGE_DISKS,
    DomainSpec,
    Firmware,
    ImageName,
    NicSpec,
    Topology,
    serial_of,
    spec_digest,
)
from cumulet.hypervisor.libvirt.elements import element, render
from cumulet.hypervisor.libvirt.gpu_xml import gpu_devices, guest_numa, memory_backing, placement
from cumulet.hypervisor.libvirt.numa import GuestNode, guest_nodes
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.places import FilePlace, Place
from cumulet.hypervisor.taps import tap_name

NAMESPACE: Final = "urn:cumulet:vm"
INTEGRATION_BRIDGE: Final = "br-int"
QEMU_NAMESPACE: Final = "http://libvirt.org/schemas/domain/qemu/1.0"
AGENT_CHANNEL: Final = "org.cumulet.agent.0"
"""What libvirtd calls the agent's channel: under its usual name it would read there itself what the guest sends."""
AGENT_PORT: Final = "org.qemu.guest_agent.0"
"""What the guest calls it: its agent looks for just that."""
AGENT_ALIAS: Final = "ua-agent"
TCG_CACHE_MIB: Final = 128
"""Of translated code: less costs a Debian guest time at its boot, more gains nothing."""
COLD_DEVICES: Final = 5
"""On PCIe root ports beside NICs and storage disks: two disks, the agent's serial controller, balloon and entropy."""
BOOT_TARGET: Final = "vda"
SEED_TARGET: Final = "vdb"
STORAGE_TARGETS: Final = tuple(f"vd{letter}" for letter in ascii_lowercase[2 : 2 + MOST_STORAGE_DISKS])
BALLOON_SECONDS: Final = 30
"""How often the guest tells how much of its memory it uses."""
SIGNED_ONLY: Final = ("enrolled-keys", "secure-boot")
OFFLOADS: Final = {"csum": "off", "tso4": "off", "tso6": "off", "ecn": "off", "ufo": "off"}

ET.register_namespace("cumulet", NAMESPACE)
ET.register_namespace("qemu", QEMU_NAMESPACE)


@dataclass(frozen=True, slots=True)
class Mark:
    """What we write on a domain to know it again."""

    digest: str
    """`spec_digest` of what it was defined with."""
    host: str
    """`HostPaths.traits` of where it was defined."""
    started: int
    """A new number for each start; 0 before the first."""
    gpus: tuple[str, ...] = ()
    """Addresses of the GPUs that it was defined with."""
    term: int = 0
    """Of its VM, when it was defined."""


def domain_xml(spec: DomainSpec, paths: HostPaths, *, disks: Mapping[UUID, Place], started: int = 0) -> str:
    """Describe the whole machine; `disks` says where its disks lie."""
    nodes = guest_nodes(spec, paths.nodes)
    gpus = tuple(gpu.functions[0] for gpu in spec.gpus)
    mark = Mark(spec_digest(spec), paths.traits, started, gpus, spec.term)
    root = element(
        "domain",
        element("name", paths.domain_name(spec.id)),
        element("uuid", str(spec.id)),
        element("title", f"{spec.project}/{spec.name}"),
        element("metadata", mark_element(spec, paths, mark)),
        element("memory", str(spec.memory_mib), unit="MiB"),
        element("vcpu", str(spec.vcpus), placement="static"),
        *([memory_backing(spec)] if spec.gpus else []),
        *placement(nodes),
        operating_system(spec),
        features(paths),
        cpu(spec, paths, nodes),
        clock(paths),
        element("on_poweroff", "destroy"),
        element("on_reboot", "restart"),
        element("on_crash", "destroy"),
        devices(spec, paths, disks, nodes),
        override(AGENT_ALIAS, "name", AGENT_PORT),
        type="kvm" if paths.kvm else "qemu",
    )
    return render(root)


def mark_element(spec: DomainSpec, paths: HostPaths, mark: Mark) -> ET.Element:
    """Describe whose machine it is; libvirt keeps it for us."""
    gpus = {"gpus": " ".join(mark.gpus)} if mark.gpus else {}
    term = {"term": str(mark.term)} if mark.term else {}
    return element(
        f"{{{NAMESPACE}}}vm",
        installation=paths.installation,
        project=spec.project,
        name=spec.name,
        digest=mark.digest,
        host=mark.host,
        started=str(mark.started),
        **gpus,
        **term,
    )


def read_mark(metadata: str) -> Mark:
    """Read our mark from a domain's metadata element."""
    found = ET.fromstring(metadata)  # noqa: S314 - what we wrote ourselves, from libvirt
    gpus = tuple(found.get("gpus", "").split())
    started, term = int(found.get("started", "0")), int(found.get("term", "0"))
    return Mark(found.get("digest", ""), found.get("host", ""), started, gpus, term)


def with_start(metadata: str, started: int) -> str:
    """Write another start into a domain's metadata element."""
    found = ET.fromstring(metadata)  # noqa: S314 - what we wrote ourselves, from libvirt
    found.set("started", str(started))
    return ET.tostring(found, encoding="unicode")


def operating_system(spec: DomainSpec) -> ET.Element:
    """What starts from the first disk; of the UEFIs that a host has, one that takes unsigned boot loaders."""
    made = element("os", element("type", "hvm", arch="x86_64", machine="q35"))
    if spec.firmware is Firmware.UEFI:
        made.set("firmware", "efi")
        made.append(
            element("firmware", *(element("feature", name=name, enabled="no") for name in SIGNED_ONLY))
        )
    made.append(element("boot", dev="hd"))
    return made


def features(paths: HostPaths) -> ET.Element:
    """ACPI for the power button; a bounded cache of translated code under TCG."""
    made = element("features", element("acpi"), element("apic"), element("vmport", state="off"))
    if not paths.kvm:
        made.append(element("tcg", element("tb-cache", str(TCG_CACHE_MIB), unit="MiB")))
    return made


def cpu(spec: DomainSpec, paths: HostPaths, nodes: Sequence[GuestNode]) -> ET.Element:
    """All that the accelerator can give, as one socket, or one a node, unless the owner asks for more.

    Of the width of physical addresses a guest gets the host's, or the BARs of several large GPUs find no room.
    """
    sockets = max(1, len(nodes))
    topology = spec.topology or Topology(sockets=sockets, cores=spec.vcpus // sockets, threads=1)
    made = element(
        "cpu",
        element(
            "topology",
            sockets=str(topology.sockets),
            cores=str(topology.cores),
            threads=str(topology.threads),
        ),
        mode="host-passthrough" if paths.kvm else "maximum",
    )
    if paths.kvm and spec.gpus:
        made.append(element("maxphysaddr", mode="passthrough"))
    made.extend(guest_numa(nodes))
    return made


def clock(paths: HostPaths) -> ET.Element:
    """UTC; under KVM without the HPET, which costs exits and which no guest needs there."""
    made = element(
        "clock",
        element("timer", name="rtc", tickpolicy="catchup"),
        element("timer", name="pit", tickpolicy="delay"),
        offset="utc",
    )
    if paths.kvm:
        made.append(element("timer", name="hpet", present="no"))
    return made


def devices(
    spec: DomainSpec, paths: HostPaths, disks: Mapping[UUID, Place], nodes: Sequence[GuestNode]
) -> ET.Element:
    """Everything that is plugged in."""
    ports = COLD_DEVICES + len(spec.nics) + MOST_STORAGE_DISKS
    storage = zip(spec.disks, STORAGE_TARGETS, strict=False)
    return element(
        "devices",
        element("controller", type="usb", model="none"),
        element("controller", type="pci", model="pcie-root"),
        *(element("controller", type="pci", model="pcie-root-port") for _ in range(ports)),
        *gpu_devices(spec, nodes, first_index=ports + 1),
        disk(
            spec.boot_disk,
            BOOT_TARGET,
            disks[spec.boot_disk],
            base=base(spec.boot_image, disks[spec.boot_disk], paths),
        ),
        seed_disk(spec.id, paths),
        *(disk(id, target, disks[id]) for id, target in storage),
        *(nic(each, paths) for each in spec.nics),
        serial_console(spec.id, paths),
        agent_channel(),
        element("graphics", element("listen", type="none"), type="vnc"),
        element("video", element("model", type="vga")),
        balloon(spec),
        element("rng", element("backend", "/dev/urandom", model="random"), model="virtio"),
        element("panic", model="isa"),
    )


def balloon(spec: DomainSpec) -> ET.Element:
    """Ask the guest how much of its memory it uses; memory that a GPU may write to cannot be taken back, so it is left out there."""
    if spec.gpus:
        return element("memballoon", model="none")
    return element("memballoon", element("stats", period=str(BALLOON_SECONDS)), model="virtio")


def disk(disk_id: UUID, target: str, place: Place, *, base: ET.Element | None = None) -> ET.Element:
    """Describe a disk; what its guest discards is given back to the host.

    What lies under it is said here: libvirt would believe what the disk says of that, which QEMU may have written.
    """
    return element(
        "disk",
        element("driver", name="qemu", type=place.format, cache="writeback", discard="unmap", **place.driver),
        place.source(),
        element("backingStore") if base is None else base,
        element("target", dev=target, bus="virtio"),
        element("serial", serial_of(disk_id)),
        type=place.kind,
        device="disk",
    )


def base(image: ImageName, disk: Place, paths: HostPaths) -> ET.Element | None:
    """Describe an image's copy under a disk's file: it stays root's, while libvirt makes the disk QEMU's own."""
    if not isinstance(disk, FilePlace):
        return None
    kept = element("seclabel", model="dac", relabel="no")
    return element(
        "backingStore",
        element("format", type=image.format),
        element("source", kept, file=str(paths.image(image, paths.pools.shared_with_images(disk.path)))),
        element("backingStore"),
        type="file",
    )


def seed_disk(vm_id: UUID, paths: HostPaths) -> ET.Element:
    """Describe the seed: a disk, for a CD needs drivers that cloud kernels leave out."""
    return element(
        "disk",
        element("driver", name="qemu", type="raw"),
        element("source", file=str(paths.seed(vm_id))),
        element("target", dev=SEED_TARGET, bus="virtio"),
        element("readonly"),
        type="file",
        device="disk",
    )


def nic(spec: NicSpec, paths: HostPaths) -> ET.Element:
    """Describe a NIC on OVN's bridge, which finds its logical port by the interface id."""
    made = element(
        "interface",
        element("source", bridge=INTEGRATION_BRIDGE),
        element("virtualport", element("parameters", interfaceid=str(spec.port_id)), type="openvswitch"),
        element("target", dev=tap_name(spec.port_id)),
        element("mac", address=spec.mac),
        element("model", type="virtio"),
        element("mtu", size=str(spec.mtu)),
        type="bridge",
    )
    if paths.userspace_datapath:
        made.append(element("driver", element("host", gso="off", **OFFLOADS), element("guest", **OFFLOADS)))
    return made


def serial_console(vm_id: UUID, paths: HostPaths) -> ET.Element:
    """Describe the serial console, whose log outlives the machine."""
    return element(
        "serial",
        element("log", file=str(paths.console(vm_id)), append="on"),
        element("target", port="0"),
        type="pty",
    )


def agent_channel() -> ET.Element:
    """Describe the agent's channel, a socket that libvirtd places."""
    return element(
        "channel",
        element("target", type="virtio", name=AGENT_CHANNEL),
        element("alias", name=AGENT_ALIAS),
        type="unix",
    )


def override(alias: str, name: str, value: str) -> ET.Element:
    """Have QEMU make a device with another value of one of its properties than libvirtd believes."""
    qemu = f"{{{QEMU_NAMESPACE}}}"
    changed = element(f"{qemu}property", name=name, type="string", value=value)
    device = element(f"{qemu}device", element(f"{qemu}frontend", changed), alias=alias)
    return element(f"{qemu}override", device)
