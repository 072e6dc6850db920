import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from cumulet.doctor.daemons import PATHS
from cumulet.doctor.prepare import prepare_host
from cumulet.doctor.supervisor import read_status
from cumulet.hypervisor import BaseImage, NicSpec
from cumulet.hypervisor.libvirt import open_host
from cumulet.hypervisor.libvirt.agents import Agents
from cumulet.hypervisor.libvirt.domain_xml import AGENT_CHANNEL
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.places import Place
from cumulet.hypervisor.libvirt.pools import DiskPools
from cumulet.images import ImageStore

DHCP = '{server_id=10.0.0.1,server_mac="02:00:00:00:00:01",lease_time=3600,router=10.0.0.1}'


@pytest.fixture(scope="session")
def lab_dir() -> Path:
    if "LAB_DIR" not in os.environ:
        pytest.fail("this test needs a private host: run it with tests/lab/enter")
    return Path(os.environ["LAB_DIR"])


@pytest.fixture(scope="session")
def prepared(lab_dir):
    return prepare_host()


@pytest.fixture(scope="session")
def fast(lab_dir) -> Iterator[Path]:
    """Where a file system of its own is mounted; it outlives that, for it is mounted elsewhere too."""
    kept, mount = lab_dir / "kept", lab_dir / "fast"
    for directory in (kept, mount):
        directory.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=4G,mode=755", "fast", kept), check=True)
    subprocess.run(("mount", "--bind", kept, mount), check=True)
    yield mount
    for directory in (mount, kept):
        subprocess.run(("umount", "--lazy", directory), check=True)


@pytest.fixture
def unmounted(fast):
    @contextmanager
    def without_fast() -> Iterator[None]:
        subprocess.run(("umount", "--lazy", fast), check=True)
        try:
            yield
        finally:
            subprocess.run(("mount", "--bind", fast.with_name("kept"), fast), check=True)

    return without_fast


@pytest.fixture
def open_lab_host(prepared, lab_dir, fast):
    opened = []

    def open_another(installation="lab", **pools):
        host = open_host(
            "qemu:///system",
            installation=installation,
            state_dir=lab_dir / installation,
            pools={"local": None, **(pools or {"fast": fast})},
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
def paths(tmp_path):
    """The directories of a host without disk pools."""
    paths = HostPaths("test", tmp_path / "host", DiskPools(tmp_path, ()), kvm=False, userspace_datapath=False)
    for directory in (paths.images, paths.copies, paths.captures):
        directory.mkdir(parents=True)
    return paths


@dataclass(frozen=True)
class Line:
    """A connection to a libvirtd that knows one machine by its XML."""

    machines: dict[bytes, str]

    def call(self, work):
        return work(self)

    def lookupByUUID(self, _id):  # noqa: N802 - libvirt's name
        return self

    def XMLDesc(self):  # noqa: N802 - libvirt's name
        return next(iter(self.machines.values()))


@pytest.fixture
def vm_id() -> UUID:
    return uuid4()


@pytest.fixture
def agents_of(tmp_path, vm_id):
    """Agents of a host with one machine, the socket of whose agent is answered too."""

    def make(*, started="7", state="connected", told=lambda _: None):
        path = tmp_path / "agent"
        line = Line({vm_id.bytes: running_xml(path, started=started, state=state)})
        return Agents(line, on_breach=told), path

    return make


def running_xml(path: Path, *, started: str, state: str, name: str = AGENT_CHANNEL) -> str:
    """What libvirt tells of a machine that runs, as far as it concerns its agent."""
    return (
        f"<domain><metadata><c:vm xmlns:c='urn:cumulet:vm' started='{started}'/></metadata><devices>"
        f"<channel><source mode='bind' path='{path}'/><target name='{name}' state='{state}'/></channel>"
        "</devices></domain>"
    )


@pytest.fixture
def kill():
    """Kills a VM's QEMU."""

    def kill_qemu(vm_id: UUID) -> None:
        os.kill(int(Path(f"/run/libvirt/qemu/cumulet-lab-{vm_id}.pid").read_text()), signal.SIGKILL)

    return kill_qemu


@pytest.fixture
def place_of(host):
    """Where a disk lies."""
    return host._paths.pools.find_disk


@pytest.fixture
def disk_path(place_of):
    return lambda disk_id: place_of(disk_id).name


@pytest.fixture
def written(place_of):
    """Writes a letter all over the beginning of a disk that no machine runs with."""

    def write(disk_id: UUID, letter: str) -> None:
        qemu_io(f"write -P {ord(letter)} 0 4k", place_of(disk_id))

    return write


@pytest.fixture
def read(place_of):
    """Reads which letter it is."""

    def read(disk_id: UUID) -> str:
        dump = qemu_io("read -v 0 1", place_of(disk_id))
        return chr(int(dump.split()[1], 16))

    return read


def qemu_io(command: str, place: Place) -> str:
    words = ("qemu-io", "--image-opts", "-c", command, place.image_opts)
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def kill_libvirtd(prepared):
    """Kills libvirtd; its supervisor starts it again a moment later."""

    def kill_it() -> None:
        status = read_status(PATHS)
        assert status is not None
        pid = status.daemons["libvirtd"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    return kill_it


@pytest.fixture
def image(lab_dir) -> BaseImage:
    """A disk with nothing on it: its machine runs, its guest does not."""
    path = lab_dir / "empty.qcow2"
    if not path.exists():
        subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", str(path), "1G"), check=True)
    return BaseImage(hashlib.sha256(path.read_bytes()).hexdigest(), "qcow2", path, size_gib=1)


@pytest.fixture(scope="session")
def micro() -> BaseImage:
    """A small guest that boots, obeys its seed and has an agent; built before, for a lab has no way to the world."""
    store = ImageStore(Path(os.environ.get("CUMULET_TEST_IMAGES", "/var/cache/cumulet-test/images")))
    built = store.find("micro")
    return BaseImage(built.sha256, built.format, built.path, built.size_gib)


@pytest.fixture
def nics(prepared) -> tuple[NicSpec, ...]:
    """One NIC on a network that hands out addresses."""
    port, mac = uuid4(), "02:00:00:00:00:03"
    dhcp = ovn("create", "DHCP_Options", "cidr=10.0.0.0/24", f"options={DHCP}").strip()
    ovn("ls-add", f"net-{port}")
    ovn("lsp-add", f"net-{port}", str(port))
    ovn("lsp-set-addresses", str(port), f"{mac} 10.0.0.3")
    ovn("lsp-set-dhcpv4-options", str(port), dhcp)
    return (NicSpec(port, mac, mtu=1442),)


def ovn(*words: str) -> str:
    return subprocess.run(("ovn-nbctl", *words), check=True, capture_output=True, text=True).stdout
