import dataclasses
import os
from collections import defaultdict
from itertools import cycle
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree as ET

import libvirt
import pytest

from cumulet.hypervisor import (
    CephPool,
    DomainSpec,
    Firmware,
    GpuSpec,
    ImageName,
    NicSpec,
    Topology,
    spec_digest,
)
from cumulet.hypervisor.libvirt.ceph.disks import RbdDisk
from cumulet.hypervisor.libvirt.ceph.pool import RbdPool
from cumulet.hypervisor.libvirt.domain_xml import (
    Mark,
    domain_xml,
    mark_element,
    read_mark,
    with_start,
)
from cumulet.hypervisor.libvirt.elements import render
from cumulet.hypervisor.libvirt.gpu_xml import with_hugepages
from cumulet.hypervisor.libvirt.numa import NumaNode
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.places import FilePlace, Place
from cumulet.hypervisor.libvirt.pools import DiskPool, DiskPools, place_pools

GOLDEN = Path(__file__).parents[2] / "golden" / "domain"
LIB, SRV, FAST = Path("/var/lib/cumulet"), Path("/srv/cloud"), Path("/mnt/fast")
EMULATED = HostPaths(
    "1a2b3c4d",
    LIB,
    place_pools({"local": None}, root=LIB, name="cumulet-1a2b3c4d"),
    kvm=False,
    userspace_datapath=True,
)
ACCELERATED = HostPaths(
    "99887766",
    SRV,
    place_pools({"local": None, "fast": FAST}, root=SRV, name="cumulet-99887766"),
    kvm=True,
    userspace_datapath=False,
)
ON_A_NAS = dataclasses.replace(
    EMULATED,
    pools=place_pools(
        {"nas": Path("/mnt/nas"), "local": None},
        root=LIB,
        name="cumulet-1a2b3c4d",
        shared=frozenset({"nas"}),
    ),
)
IN_CEPH = dataclasses.replace(
    EMULATED,
    pools=place_pools(
        {"local": None}, root=LIB, name="cumulet-1a2b3c4d", ceph={"net": CephPool("vms", "cumulet")}
    ),
)
TWO_NODES = dataclasses.replace(ACCELERATED, nodes=(NumaNode(0, "0-31,64-95"), NumaNode(1, "32-63,96-127")))
PLAIN = DomainSpec(
    id=UUID("f3aa42a5-2c1b-4f2e-9d0e-5f1f0c2f7a10"),
    name="hello",
    project="default",
    vcpus=2,
    memory_mib=2048,
    topology=None,
    boot_disk=UUID("0a1b2c3d-4e5f-4a5b-8c7d-9e0f1a2b3c4d"),
    boot_image=ImageName("ab" * 32, "qcow2"),
    disks=(),
    nics=(NicSpec(UUID("6b1d7a52-7a54-4d0c-a1a5-0d8d9f2f3c11"), "02:00:00:12:34:56", 1442),),
)
LARGE = DomainSpec(
    id=UUID("11111111-2222-4333-8444-555555555555"),
    name="trainer",
    project="research",
    vcpus=16,
    memory_mib=65536,
    topology=Topology(sockets=2, cores=4, threads=2),
    boot_disk=UUID("66666666-7777-4888-8999-aaaaaaaaaaaa"),
    boot_image=ImageName("cd" * 32, "raw"),
    disks=(
        UUID("dddddddd-eeee-4fff-8000-111111111111"),
        UUID("eeeeeeee-ffff-4000-8111-222222222222"),
    ),
    nics=(
        NicSpec(UUID("bbbbbbbb-cccc-4ddd-8eee-ffffffffffff"), "02:00:00:00:00:0a", 1500),
        NicSpec(UUID("cccccccc-dddd-4eee-8fff-000000000000"), "02:00:00:00:00:0b", 9000),
    ),
    term=3,
)
FROM_UEFI = dataclasses.replace(PLAIN, firmware=Firmware.UEFI)
SMALL_TOPOLOGY = dataclasses.replace(
    PLAIN, vcpus=6, topology=Topology(sockets=1, cores=2, threads=3), nics=()
)
WITH_AUDIO = dataclasses.replace(PLAIN, gpus=(GpuSpec(("0000:65:00.0", "0000:65:00.1"), None),))
ON_ONE_NODE = dataclasses.replace(FROM_UEFI, gpus=(GpuSpec(("0000:c1:00.0",), 1),))
ON_TWO_NODES = dataclasses.replace(
    LARGE,
    memory_mib=65 * 1024,
    gpus=tuple(
        GpuSpec((f"000{node}:{bus:02x}:00.0",), node) for node in (0, 1) for bus in (3, 4, 0x83, 0x84)
    ),
)
MACHINES = {
    "emulated": (PLAIN, EMULATED),
    "accelerated": (PLAIN, ACCELERATED),
    "large": (LARGE, ACCELERATED),
    "shared": (PLAIN, ON_A_NAS),
    "ceph": (LARGE, IN_CEPH),
    "uefi": (FROM_UEFI, EMULATED),
    "without-nics": (SMALL_TOPOLOGY, EMULATED),
    "gpu-with-audio": (WITH_AUDIO, EMULATED),
    "gpu-on-one-node": (ON_ONE_NODE, TWO_NODES),
    "gpus-on-two-nodes": (ON_TWO_NODES, TWO_NODES),
}


def disks_of(spec: DomainSpec, paths: HostPaths) -> dict[UUID, Place]:
    """Where a machine's disks lie: each in the next of the pools."""
    pools = cycle((*paths.pools.ceph, *paths.pools.every))
    return {
        id: RbdDisk(pool, id) if isinstance(pool, RbdPool) else FilePlace(pool.disk(id))
        for id, pool in zip((spec.boot_disk, *spec.disks), pools, strict=False)
    }


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_is_described_as_its_golden_file_says(name):
    spec, paths = MACHINES[name]
    assert_golden(name, domain_xml(spec, paths, disks=disks_of(spec, paths)))


def test_a_machine_in_pages_of_1_gib_is_described_as_its_golden_file_says():
    xml = domain_xml(ON_ONE_NODE, TWO_NODES, disks=disks_of(ON_ONE_NODE, TWO_NODES))
    assert_golden("gpu-in-large-pages", with_hugepages(xml, wanted=True))


def assert_golden(name: str, xml: str) -> None:
    """Compare with a golden file, or write it when told to."""
    golden = GOLDEN / f"{name}.xml"
    if os.environ.get("GOLDEN") == "write":
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(f"{xml}\n")
    assert f"{xml}\n" == golden.read_text()


def varied(*values: object) -> dict[str, set[object]]:
    """Every value of each dataclass field found in the values, all the way down."""
    seen = defaultdict(set)
    for value in values:
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                part = getattr(value, field.name)
                seen[f"{type(value).__name__}.{field.name}"].add(part)
                for name, parts in varied(part).items():
                    seen[name] |= parts
        elif isinstance(value, tuple):
            for name, parts in varied(*value).items():
                seen[name] |= parts
    return seen


def test_every_field_of_a_machine_is_varied_in_some_golden_file():
    seen = varied(*MACHINES.values())
    kinds = (
        DomainSpec,
        GpuSpec,
        ImageName,
        NicSpec,
        Topology,
        HostPaths,
        DiskPools,
        DiskPool,
        NumaNode,
    )
    fields = {f"{kind.__name__}.{field.name}" for kind in kinds for field in dataclasses.fields(kind)}
    assert {name for name in fields if len(seen[name]) < 2} == set()


@pytest.mark.parametrize("name", MACHINES)
def test_libvirt_accepts_a_machine_by_its_schema(name):
    spec, paths = MACHINES[name]
    xml = (
        domain_xml(spec, paths, disks=disks_of(spec, paths))
        .replace('type="kvm"', 'type="test"')
        .replace('type="qemu"', 'type="test"', 1)
    )
    link = libvirt.open("test:///default")
    domain = link.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    assert domain.UUIDString() == str(spec.id)
    domain.undefine()
    link.close()


@pytest.mark.parametrize("gpus", [(), ("0000:65:00.0", "0000:b3:00.0")])
def test_a_machine_tells_what_it_was_defined_with_and_its_start(gpus):
    mark = Mark(spec_digest(PLAIN), EMULATED.traits, started=0, gpus=gpus)
    metadata = render(mark_element(PLAIN, EMULATED, mark))
    assert read_mark(metadata) == mark
    assert read_mark(with_start(metadata, 77)) == dataclasses.replace(mark, started=77)


@pytest.mark.lab
@pytest.mark.parametrize("name", MACHINES)
def test_a_real_libvirtd_finds_room_for_all_devices_of_a_machine(name, host):
    spec, paths = MACHINES[name]
    host.ping()
    link = libvirt.open("qemu:///system")
    xml = domain_xml(spec, dataclasses.replace(paths, kvm=False), disks=disks_of(spec, paths))
    domain = link.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    defined = ET.fromstring(domain.XMLDesc())  # noqa: S314 - libvirt's
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    link.close()
    places = [place(device) for device in defined.iterfind("devices/*/address[@type='pci']")]
    assert len(places) == len(set(places))
    assert defined.find("devices/controller[@model='pcie-to-pci-bridge']") is None
    buses = sum(controller.get("type") == "pci" for controller in defined.iterfind("devices/controller"))
    asked = ET.fromstring(xml).findall("devices/controller[@type='pci']")  # noqa: S314 - our own
    assert buses == len(asked)


def place(address: ET.Element) -> tuple[str | None, ...]:
    """Where a device is in the guest."""
    return tuple(address.get(part) for part in ("domain", "bus", "slot", "function"))
