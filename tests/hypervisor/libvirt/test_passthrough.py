"""A domain's GPUs: on the host when it is defined, bound for VMs before it starts, and what is refused in words."""

from dataclasses import replace
from uuid import uuid4

import libvirt
import pytest
from tests.hypervisor.libvirt.test_domain_xml import ON_ONE_NODE, PLAIN, TWO_NODES, WITH_AUDIO, disks_of

from cumulet.hypervisor import GpuInUse, GpuMissing, HypervisorError
from cumulet.hypervisor.libvirt import domains, passthrough
from cumulet.hypervisor.libvirt.domain_xml import domain_xml
from cumulet.hypervisor.libvirt.gpu_xml import functions_in, with_hugepages
from cumulet.hypervisor.libvirt.passthrough import check_there, free_pages, refusal_in_words


def xml_of(spec):
    xml = domain_xml(spec, TWO_NODES, disks=disks_of(spec, TWO_NODES))
    return xml.replace('type="kvm"', 'type="test"', 1)


@pytest.fixture
def link():
    """libvirt's own host for tests, on which machines start at once."""
    link = libvirt.open("test:///default")
    yield link
    link.close()


@pytest.fixture
def define(link):
    """Define machines there, each under an id of its own."""
    defined = []

    def define(spec):
        spec = replace(spec, id=uuid4())
        defined.append(link.defineXML(xml_of(spec)))
        return spec

    yield define
    for domain in defined:
        if domain.isActive():
            domain.destroy()
        domain.undefine()


@pytest.fixture
def bound(monkeypatch):
    """What was bound for VMs, with how many machines ran by then."""
    calls = []
    monkeypatch.setattr(passthrough, "bind_for_vms", lambda addresses, _root: calls.append(addresses))
    return calls


@pytest.fixture
def root(tmp_path):
    """A host's tree of made-up files."""

    def write(path, text=""):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        return tmp_path

    return write


def test_a_machine_s_functions_are_all_bound_before_it_starts_and_no_others(link, define, bound):
    with_gpu, without = define(WITH_AUDIO), define(PLAIN)
    domains.start(link, without.id)
    assert bound == []
    domains.start(link, with_gpu.id)
    assert bound == [["0000:65:00.0", "0000:65:00.1"]]
    assert domains.find_domain(link, with_gpu.id).isActive()


def test_a_machine_s_gpus_are_joined_once_they_are_bound_and_before_it_starts(
    link, define, bound, monkeypatch
):
    spec = define(WITH_AUDIO)
    joined = []

    def join(addresses, _root):
        joined.append((addresses, list(bound), domains.find_domain(link, spec.id).isActive()))

    monkeypatch.setattr(passthrough, "join", join)
    domains.start(link, spec.id)
    functions = ["0000:65:00.0", "0000:65:00.1"]
    assert joined == [(functions, [functions], False)]


def test_a_machine_does_not_start_when_its_gpu_cannot_be_bound(link, define, monkeypatch):
    def refuse(addresses, _root):
        raise HypervisorError(f"{addresses} could not be bound")

    monkeypatch.setattr(passthrough, "bind_for_vms", refuse)
    spec = define(WITH_AUDIO)
    with pytest.raises(HypervisorError, match="could not be bound"):
        domains.start(link, spec.id)
    assert not domains.find_domain(link, spec.id).isActive()


@pytest.mark.parametrize("missing", ["0000:65:00.0", "0000:65:00.1"])
def test_a_machine_is_not_defined_without_a_function_of_its_gpus(root, missing):
    for function in {"0000:65:00.0", "0000:65:00.1"} - {missing}:
        there = root(f"sys/bus/pci/devices/{function}/vendor")
    with pytest.raises(GpuMissing, match=missing):
        check_there(WITH_AUDIO, there)
    check_there(WITH_AUDIO, root(f"sys/bus/pci/devices/{missing}/vendor"))


def test_what_libvirt_makes_of_a_machine_still_tells_its_functions(link, define):
    spec = define(WITH_AUDIO)
    xml = domains.find_domain(link, spec.id).XMLDesc(passthrough.DEFINITION)
    assert functions_in(xml) == ["0000:65:00.0", "0000:65:00.1"]


# Pages of 1 GiB
MOUNT = "hugetlbfs /dev/hugepages1G hugetlbfs rw,relatime,pagesize=1024M 0 0\n"
PAGES = "sys/kernel/mm/hugepages/hugepages-1048576kB"


def set_aside(root, free, promised=0, mounts=MOUNT):
    root(f"{PAGES}/free_hugepages", f"{free}\n")
    root(f"{PAGES}/resv_hugepages", f"{promised}\n")
    return root("proc/self/mounts", f"proc /proc proc rw 0 0\n{mounts}")


def test_pages_that_others_were_promised_are_not_free(root):
    assert free_pages(set_aside(root, free=8, promised=3)) == 5


@pytest.mark.parametrize(
    "mounts", ["", "hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n"], ids=["none", "2 MiB"]
)
def test_pages_that_are_not_mounted_are_of_no_use(root, mounts):
    assert free_pages(set_aside(root, free=8, mounts=mounts)) == 0


def test_a_host_without_such_pages_has_none_free(root):
    assert free_pages(root("proc/self/mounts", MOUNT)) == 0


def test_a_machine_s_memory_is_of_such_pages_when_enough_are_free_at_its_start(link, define, bound, root):
    spec = define(ON_ONE_NODE)
    domain = domains.find_domain(link, spec.id)
    for free, expected in ((2, True), (1, False), (2, True)):
        passthrough.give_gpus(link, domain, set_aside(root, free=free))
        xml = domain.XMLDesc(passthrough.DEFINITION)
        assert ("<hugepages>" in xml) is expected
        assert 'mode="immediate"' in xml.replace("'", '"')
        assert domains.mark_of(domain).digest


def test_a_machine_that_is_as_it_should_be_is_not_described_anew():
    xml = xml_of(ON_ONE_NODE)
    assert with_hugepages(xml, wanted=False) is xml
    assert with_hugepages(changed := with_hugepages(xml, wanted=True), wanted=True) is changed


def test_a_machine_without_gpus_keeps_its_usual_memory():
    xml = xml_of(PLAIN)
    assert with_hugepages(xml, wanted=True) is xml


# Refusals
QEMU = "internal error: qemu unexpectedly closed the monitor: qemu-system-x86_64: -device vfio-pci,host=0000:65:00.0: "


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (f"{QEMU}vfio 0000:65:00.0: group 12 is not viable", "the host itself has a device"),
        ("internal error: Unable to reset PCI device 0000:65:00.0: no FLR, PM reset", "nothing resets"),
        ("internal error: Active 0000:65:00.1 devices on bus with 0000:65:00.0, not doing bus reset", "nothing resets"),
        ("unsupported configuration: host doesn't support passthrough of host PCI devices", "no IOMMU in use"),
        (f"{QEMU}vfio 0000:65:00.0: no iommu_group found: No such file or directory", "no IOMMU in use"),
        (
            f"{QEMU}failed to setup container: Failed to set iommu for container: Operation not permitted",
            "does not remap interrupts",
        ),
        (f"{QEMU}vfio 0000:65:00.0: VFIO_MAP_DMA failed: Cannot allocate memory", "lock as much memory"),
        ("internal error: Unable to find any usable hugetlbfs mount for 1048576 KiB", "restart libvirtd"),
        (f"{QEMU}unable to map backing store for guest RAM: Cannot allocate memory", "taken meanwhile"),
    ],
)  # fmt: skip
def test_what_keeps_a_machine_with_gpus_from_starting_is_said_in_words(said, means):
    refusal = refusal_in_words(libvirt.libvirtError(said))
    assert means in str(refusal)
    assert said in str(refusal)
    assert refusal.message == "the GPU could not be given to the machine"


@pytest.mark.parametrize(
    "said",
    [
        "Requested operation is not valid: PCI device 0000:65:00.0 is in use by driver QEMU, domain other",
        f"{QEMU}vfio 0000:65:00.0: failed to open /dev/vfio/12: Device or resource busy",
    ],
)
def test_a_gpu_that_another_machine_has_is_told_from_one_that_fails(said):
    refusal = refusal_in_words(libvirt.libvirtError(said))
    assert isinstance(refusal, GpuInUse)
    assert (said in str(refusal), refusal.message) == (True, GpuInUse.for_owner)


def test_what_libvirt_says_of_other_things_stays_its_own():
    assert refusal_in_words(libvirt.libvirtError("Cannot access storage file '/x.qcow2'")) is None


class Domain:
    """A domain that refuses to start, and may have been started by somebody else."""

    def __init__(self, active):
        self.active = iter(active)

    def __getattr__(self, _name):
        return lambda *_: "<domain/>"

    def isActive(self):  # noqa: N802 - libvirt's name
        return next(self.active)

    def create(self):
        error = libvirt.libvirtError("PCI device 0000:65:00.0 is in use by driver QEMU, domain other")
        error.err = (libvirt.VIR_ERR_OPERATION_INVALID, 10, str(error), 2, "", None, None, 0, 0)
        raise error


def test_a_machine_that_somebody_else_has_just_started_is_told_from_one_whose_gpu_another_has(monkeypatch):
    domain = Domain(active=[False, True])
    monkeypatch.setattr(domains, "find_domain", lambda *_: domain)
    domains.start(None, uuid4())
    domain.active = iter([False, False])
    with pytest.raises(GpuInUse):
        domains.start(None, uuid4())
