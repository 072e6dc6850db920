"""What a machine's XML has more for its GPUs: pure, and compared whole with golden files.

    pcie.0 ┬ root port ─ card 0000:65:00: its functions in one slot
           ├ expander bus of guest node 0 ┬ root port ─ card
           │                              └ root port ─ card
           └ expander bus of guest node 1 ─ root port ─ card

Without addresses libvirt puts a card's functions into slots of their own behind a PCI bridge, where drivers do not
find one another and no link is PCIe. Expander buses are how a guest is told which node a card is near to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final
from xml.etree import ElementTree as ET

from cumulet.hypervisor import DomainSpec, GpuSpec
from cumulet.hypervisor.libvirt.elements import element, render
from cumulet.hypervisor.libvirt.numa import GuestNode

BUSES: Final = 256
ROOT_BUS: Final = 0


def gpu_devices(spec: DomainSpec, nodes: Sequence[GuestNode], first_index: int) -> Iterator[ET.Element]:
    """Describe the cards, each on a root port of its own, with controllers numbered from `first_index` on."""
    numbers = [node.host.number for node in nodes] if len(nodes) > 1 else []
    homes = {number: first_index + cell for cell, number in enumerate(numbers)}
    yield from expander_buses(spec, homes)
    taken: Counter[int] = Counter()
    for index, gpu in enumerate(spec.gpus, first_index + len(homes)):
        home = homes.get(gpu.numa_node, ROOT_BUS) if gpu.numa_node is not None else ROOT_BUS
        yield root_port(index, home, slot=taken[home])
        taken[home] += 1
        yield from card(gpu, index)


def expander_buses(spec: DomainSpec, homes: dict[int, int]) -> Iterator[ET.Element]:
    """Describe a bus for each of the guest's nodes; each has a number for itself and each of its ports, and as many to spare.

    Guests find what has lower numbers first.
    """
    cards = Counter(gpu.numa_node for gpu in spec.gpus)
    bus = BUSES - sum(2 * (1 + cards[number]) for number in homes)
    for cell, (number, index) in enumerate(homes.items()):
        target = element("target", element("node", str(cell)), busNr=str(bus))
        yield element("controller", target, type="pci", index=str(index), model="pcie-expander-bus")
        bus += 2 * (1 + cards[number])


def root_port(index: int, bus: int, *, slot: int) -> ET.Element:
    """Describe a port; of those on the root bus libvirt knows where it has room."""
    port = element("controller", type="pci", index=str(index), model="pcie-root-port")
    if bus != ROOT_BUS:
        port.append(address(bus, slot, 0, type="pci"))
    return port


def card(gpu: GpuSpec, bus: int) -> Iterator[ET.Element]:
    """Describe a card's functions, which we have bound for VMs: libvirt would give them back to the host's drivers."""
    for number, function in enumerate(gpu.functions):
        place = address(bus, 0, number, type="pci")
        if number == 0 and len(gpu.functions) > 1:
            place.set("multifunction", "on")
        yield element(
            "hostdev",
            element("driver", name="vfio"),
            element("source", host_address(function)),
            place,
            mode="subsystem",
            type="pci",
            managed="no",
        )


def address(bus: int, slot: int, function: int, *, domain: int = 0, **attributes: str) -> ET.Element:
    """Write an address of PCI's."""
    return element(
        "address",
        **attributes,
        domain=f"0x{domain:04x}",
        bus=f"0x{bus:02x}",
        slot=f"0x{slot:02x}",
        function=f"0x{function:x}",
    )


def host_address(function: str) -> ET.Element:
    """Write `0000:65:00.1` as libvirt does."""
    domain, bus, rest = function.split(":")
    slot, _, number = rest.partition(".")
    return address(int(bus, 16), int(slot, 16), int(number, 16), domain=int(domain, 16))


def memory_backing(spec: DomainSpec) -> ET.Element:
    """Have all memory there from the start, by as many threads as it has vCPUs: a card may write to any of it."""
    return element("memoryBacking", element("allocation", mode="immediate", threads=str(spec.vcpus)))


def with_hugepages(xml: str, *, wanted: bool) -> str:
    """Have a domain's memory made of pages of 1 GiB, or of the host's usual ones; the same XML where that is so already."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's
    backing, pages = domain.find("memoryBacking"), domain.find("memoryBacking/hugepages")
    if backing is None or wanted is (pages is not None):
        return xml
    if pages is None:
        backing.append(element("hugepages", element("page", size="1", unit="GiB")))
    else:
        backing.remove(pages)
    return render(domain)


def functions_in(xml: str) -> list[str]:
    """Tell which functions of its host a domain gets."""
    passed = ET.fromstring(xml).iterfind("devices/hostdev/source/address")  # noqa: S314 - libvirt's
    parts = ([int(one.get(part, ""), 16) for part in ("domain", "bus", "slot", "function")] for one in passed)
    return [f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}" for domain, bus, slot, function in parts]


def placement(nodes: Sequence[GuestNode]) -> Iterator[ET.Element]:
    """Keep each vCPU on its node's processors, and its memory there as long as there is room.

    Who insists on a node's memory does not start when others have it.
    """
    if not nodes:
        return
    pins = ((vcpu, node.host.cpus) for node in nodes for vcpu in node.vcpus)
    yield element("cputune", *(element("vcpupin", vcpu=str(vcpu), cpuset=cpus) for vcpu, cpus in pins))
    if len(nodes) == 1:
        tuned = [element("memory", mode="preferred", nodeset=str(nodes[0].host.number))]
    else:
        tuned = [
            element("memnode", cellid=str(cell), mode="preferred", nodeset=str(node.host.number))
            for cell, node in enumerate(nodes)
        ]
    yield element("numatune", *tuned)


def guest_numa(nodes: Sequence[GuestNode]) -> Iterator[ET.Element]:
    """Tell the guest of its nodes, if it has several."""
    if len(nodes) > 1:
        yield element("numa", *(cell(number, node) for number, node in enumerate(nodes)))


def cell(number: int, node: GuestNode) -> ET.Element:
    """Describe one node."""
    return element(
        "cell",
        id=str(number),
        cpus=f"{node.vcpus[0]}-{node.vcpus[-1]}",
        memory=str(node.memory_mib),
        unit="MiB",
    )
