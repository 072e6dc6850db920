"""How a GPU is reset, and what is seen of its health after it, on a kernel that is made up."""

import errno

import pytest
from tests.hypervisor.contract import GpuContract
from tests.hypervisor.made_up_kernel import MadeUpKernel, a_card

from cumulet.hypervisor import GpuInUse, GpuUnclean, Proof, SeenFunction, gpu_cleaning
from cumulet.hypervisor.libvirt.gpus import LibvirtGpus

PORT, GPU, AUDIO = "0000:00:01.0", "0000:01:00.0", "0000:01:00.1"
BY_BRIDGE = f"{PORT}/reset_subordinate=1"
H100, B200 = "10de:2330", "10de:2901"


@pytest.fixture
def kernel_of(tmp_path, monkeypatch):
    return lambda **card: MadeUpKernel(a_card(tmp_path, **card).root.parent, monkeypatch)


@pytest.fixture
def kernel(kernel_of):
    return kernel_of()


def good_guest(gpu):
    """One that finds the whole card."""
    bars = (0xFE000000, 0, 0, 0, 0, 0)
    return Proof(tuple(SeenFunction(one.pci_id, bars, masters_bus=True) for one in gpu.functions), None)


def clean(kernel):
    LibvirtGpus(good_guest, kernel.root).clean(GPU)


class TestGpusOfLibvirt(GpuContract):
    @pytest.fixture
    def gpus(self, kernel):
        return LibvirtGpus(good_guest, kernel.root)

    @pytest.fixture
    def used(self, kernel):
        return lambda gpu: kernel.in_use.add(gpu.iommu_group)


def test_nothing_is_reset_under_a_machine(kernel):
    kernel.in_use.add("1")
    with pytest.raises(GpuInUse):
        clean(kernel)
    assert kernel.written == []


def test_no_machine_can_start_with_a_gpu_that_is_being_reset(kernel):
    held = []
    kernel.on_reset = lambda: held.append(kernel.files_open("1"))
    clean(kernel)
    assert (held, kernel.files_open("1")) == ([1], 0)


def test_what_joins_a_gpu_with_others_is_undone_while_no_machine_can_have_it_and_before_its_reset(
    kernel, monkeypatch
):
    parted = []

    def part(address, root):
        parted.append((address, root, kernel.files_open("1"), list(kernel.written)))

    monkeypatch.setattr(gpu_cleaning, "part", part)
    clean(kernel)
    ((address, root, held, written),) = parted
    assert (address, root, held) == (GPU, kernel.root, 1)
    assert BY_BRIDGE not in written


def test_what_belongs_to_the_host_is_bound_for_vms_first(kernel):
    kernel.let_go(AUDIO)
    clean(kernel)
    assert kernel.driver_of(AUDIO) == "vfio-pci"
    assert kernel.written[-1] == BY_BRIDGE


def test_a_gpu_that_can_reset_itself_does_and_the_kernel_tries_nothing_else(kernel_of):
    kernel = kernel_of(audio=False, reset_method="acpi pm flr bus")
    clean(kernel)
    assert kernel.written == [
        f"{GPU}/reset_method=flr",
        f"{GPU}/reset=1",
        f"{GPU}/reset_method=acpi pm flr bus",
    ]


def test_a_card_of_which_a_part_cannot_reset_itself_is_reset_by_its_bridge(kernel_of):
    kernel = kernel_of(reset_method="flr bus")
    clean(kernel)
    assert kernel.written == [BY_BRIDGE]


def test_a_way_that_fails_is_followed_by_the_next(kernel_of):
    kernel = kernel_of(audio=False, reset_method="flr bus")
    kernel.refusals[f"{GPU}/reset"] = errno.ENOTTY
    clean(kernel)
    assert kernel.written == [f"{GPU}/reset_method=flr", f"{GPU}/reset_method=flr bus", BY_BRIDGE]


def test_a_card_that_its_bridge_does_not_reset_is_reset_by_vfio(kernel):
    kernel.refusals[f"{PORT}/reset_subordinate"] = errno.ENOTTY
    clean(kernel)
    assert kernel.written == [f"hot reset of {GPU} with groups 1"]
    assert kernel.open_devices == {}


def test_a_kernel_without_a_bridges_reset_has_vfios(kernel):
    (kernel.pci / "devices" / PORT / "reset_subordinate").unlink()
    clean(kernel)
    assert kernel.written == [f"hot reset of {GPU} with groups 1"]


def test_a_gpu_that_nothing_resets_is_told_with_all_that_was_tried(kernel_of):
    kernel = kernel_of(reset_method="flr bus")
    for where in (f"{PORT}/reset_subordinate", "hot_reset"):
        kernel.refusals[where] = errno.ENOTTY
    kernel.refusals[f"{GPU}/reset"] = errno.EIO
    with pytest.raises(GpuUnclean) as refusal:
        clean(kernel)
    no = "it does not work"
    assert str(refusal.value) == (
        f"GPU {GPU} cannot be reset (by bridge {PORT}: {no}, by VFIO: {no}, by flr: Input/output error)"
    )
    assert refusal.value.message == "the GPU is not as new"


def test_a_bus_that_others_are_on_is_not_reset(tmp_path, monkeypatch):
    tree = a_card(tmp_path, reset_method="bus")
    tree.add(f"{PORT}/0000:01:01.0", "8086:15bc", "0200", group="2")
    kernel = MadeUpKernel(tmp_path, monkeypatch)
    with pytest.raises(GpuUnclean, match=f"GPU {GPU} cannot be reset .there is no way to.$"):
        clean(kernel)
    assert kernel.written == []


def test_a_gpu_that_has_fallen_off_the_bus_is_not_reset(kernel):
    kernel.break_off(GPU)
    with pytest.raises(GpuUnclean, match="does not answer on the bus"):
        clean(kernel)
    assert kernel.written == []


ANOTHER = bytes.fromhex("de10042200000000a1000003") + bytes(52)
MOVED = bytes.fromhex("de10") + bytes(14) + b"\x0c" + bytes(47)


@pytest.mark.parametrize(
    ("of", "name", "content", "fault"),
    [
        (GPU, "config", b"\xff" * 64, f"{GPU} does not answer"),
        (AUDIO, "config", b"\xff" * 64, f"{AUDIO} does not answer"),
        (GPU, "config", ANOTHER, f"{GPU} has other ids or BARs than before"),
        (GPU, "config", MOVED, f"{GPU} has other ids or BARs than before"),
        (GPU, "current_link_width", b"8\n", f"{GPU} has 8 PCIe lanes, and had 16"),
        (GPU, "current_link_speed", b"2.5 GT/s PCIe\n", f"{GPU} runs at 2.5 GT/s, and ran at 16"),
        (GPU, "aer_dev_fatal", b"DLP 1\nTOTAL_ERR_FATAL 3\n", f"{GPU} reported 3 PCIe errors"),
        (GPU, "aer_dev_nonfatal", b"UR 5\nTOTAL_ERR_NONFATAL 9\n", f"{GPU} reported 2 PCIe errors"),
    ],
)
def test_what_is_wrong_with_a_gpu_after_its_reset_is_told(kernel_of, of, name, content, fault):
    kernel = kernel_of(
        current_link_width="16",
        current_link_speed="16.0 GT/s PCIe",
        aer_dev_fatal="DLP 0\nTOTAL_ERR_FATAL 0",
        aer_dev_nonfatal="UR 4\nTOTAL_ERR_NONFATAL 7",
    )
    kernel.on_reset = lambda: kernel.change(of, name, content)
    with pytest.raises(GpuUnclean) as refusal:
        clean(kernel)
    assert str(refusal.value) == f"GPU {GPU} is not healthy after its reset by bridge {PORT}: {fault}"


def test_a_link_that_is_better_or_not_told_of_is_no_fault(kernel_of):
    kernel = kernel_of(current_link_width="8", current_link_speed="2.5 GT/s PCIe")

    def improve():
        kernel.change(GPU, "current_link_width", b"16\n")
        kernel.change(GPU, "current_link_speed", b"Unknown\n")

    kernel.on_reset = improve
    clean(kernel)


@pytest.mark.parametrize(("pci_id", "register"), [(H100, 0x100B20), (B200, 0x8A004C)])
def test_a_gpu_that_tells_when_its_memory_is_clear_is_waited_for(kernel_of, pci_id, register):
    kernel = kernel_of(pci_id=pci_id, audio=False, reset_method="flr")
    kernel.registers = [0, 0xFFFFFFFF, 1]
    clean(kernel)
    assert kernel.written[2:] == [
        f"{GPU}/reset_method=flr",
        "0x40000004=0200",
        *[f"{GPU}/{register:#x}"] * 3,
    ]
    assert kernel.open_devices == {}


def test_a_gpu_whose_memory_does_not_become_clear_is_told_of(kernel_of, monkeypatch):
    monkeypatch.setattr(gpu_cleaning, "CLEARED_WITHIN", 0.02)
    kernel = kernel_of(pci_id=H100)
    kernel.registers = [0]
    with pytest.raises(GpuUnclean, match=f"GPU {GPU} did not clear its memory within"):
        clean(kernel)


def test_a_gpu_that_cannot_be_opened_does_not_tell(kernel_of):
    kernel = kernel_of(pci_id=H100)
    kernel.refusals["device"] = errno.EINVAL
    with pytest.raises(GpuUnclean, match="does not tell whether its memory is clear: Invalid argument"):
        clean(kernel)
