import hashlib
import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from uuid import uuid4

import pytest

from cumulet.doctor.prepare import prepare_host
from cumulet.fabric import ExternalSpec, NetworkSpec, PortSpec, RouterSpec
from cumulet.fabric.ovn import open_fabric
from cumulet.hypervisor import BaseImage, NicSpec
from cumulet.hypervisor.libvirt import open_host
from cumulet.images import ImageStore, ensure_image


@pytest.fixture(scope="session")
def lab_dir() -> Path:
    if "LAB_DIR" not in os.environ:
        pytest.fail("this test needs a private host: run it with tests/lab/enter")
    return Path(os.environ["LAB_DIR"])


@pytest.fixture(scope="session")
def prepared(lab_dir):
    return prepare_host()


@pytest.fixture
def open_lab_host(prepared, lab_dir):
    opened = []

    def open_another(installation="lab"):
        host = open_host(
            "qemu:///system",
            installation=installation,
            state_dir=lab_dir / installation,
            kvm_works=prepared.kvm.works,
            userspace_datapath=prepared.datapath == "netdev",
        )
        opened.append(host)
        return host

    yield open_another
    for host in opened:
        host.close()


@pytest.fixture
def host(open_lab_host):
    return open_lab_host()


@pytest.fixture
def image(lab_dir) -> BaseImage:
    """A disk with nothing on it: its machine runs, its guest does not."""
    path = lab_dir / "empty.qcow2"
    if not path.exists():
        subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(path), "1G"), check=True)
    return BaseImage(hashlib.sha256(path.read_bytes()).hexdigest(), "qcow2", path, size_gib=1)


@pytest.fixture(scope="session")
def micro() -> BaseImage:
    """A small guest that boots, obeys its seed and has an agent."""
    store = ImageStore(Path(os.environ.get("CUMULET_TEST_IMAGES", "/var/cache/cumulet-test/images")))
    built = ensure_image(store, "micro", lambda _step, _fraction: None)
    return BaseImage(built.sha256, built.format, built.path, built.size_gib)


@pytest.fixture
def nics(prepared) -> Iterator[tuple[NicSpec, ...]]:
    """One card on a network that hands out addresses."""
    fabric = open_fabric(prepared.northbound, installation="lab", chassis=prepared.chassis)
    network = NetworkSpec(
        id=uuid4(),
        router_id=uuid4(),
        range=IPv4Network("10.0.0.0/24"),
        gateway=IPv4Address("10.0.0.1"),
        gateway_mac="02:00:00:00:00:01",
        resolvers=(IPv4Address("1.1.1.1"),),
        mtu=1442,
    )
    external = ExternalSpec("br-ex", IPv4Network("198.51.100.0/24"), IPv4Address("198.51.100.1"))
    router = RouterSpec(network.router_id, external, IPv4Address("198.51.100.2"), "02:00:00:00:00:02")
    port = PortSpec(uuid4(), network.id, "02:00:00:00:00:03", IPv4Address("10.0.0.3"), "hello", None)
    fabric.put_external(external)
    fabric.put_router(router)
    fabric.put_network(network)
    fabric.put_port(port)
    yield (NicSpec(port.id, port.mac, network.mtu),)
    fabric.remove_port(port.id)
    fabric.remove_network(network.id)
    fabric.remove_router(router.id)
    fabric.close()
