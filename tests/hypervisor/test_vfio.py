"""Functions are bound for VMs, and their groups held, in a tree of plain files with a kernel that is made up."""

import errno
import shutil

import pytest
from tests.hypervisor.made_up_kernel import MadeUpKernel, a_card
from tests.hypervisor.pci_trees import consumer_card

from cumulet.hypervisor import GpuInUse, GpuUnclean
from cumulet.hypervisor.vfio import bind_for_vms, held_groups

GPU, AUDIO, USB = (f"0000:01:00.{number}" for number in range(3))


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A card whose functions the host's own drivers have."""
    consumer_card(tmp_path / "sys")
    return MadeUpKernel(tmp_path, monkeypatch)


def test_all_functions_are_taken_from_their_drivers_and_bound(kernel):
    bind_for_vms((GPU, AUDIO, USB), kernel.root)
    assert {kernel.driver_of(one) for one in (GPU, AUDIO, USB)} == {"vfio-pci"}
    assert kernel.written[:3] == [
        f"{GPU}/driver_override=vfio-pci",
        f"nouveau/unbind={GPU}",
        f"pci/drivers_probe={GPU}",
    ]


def test_what_is_bound_is_left_alone(kernel):
    bind_for_vms((GPU, AUDIO), kernel.root)
    kernel.written.clear()
    bind_for_vms((GPU, AUDIO), kernel.root)
    assert kernel.written == []


def test_a_function_without_a_driver_is_bound(kernel):
    kernel.let_go(AUDIO)
    bind_for_vms((AUDIO,), kernel.root)
    assert kernel.driver_of(AUDIO) == "vfio-pci"


def test_the_driver_is_loaded_where_it_is_not(kernel):
    shutil.rmtree(kernel.pci / "drivers/vfio-pci")
    bind_for_vms((GPU,), kernel.root)
    assert kernel.driver_of(GPU) == "vfio-pci"


def test_a_kernel_without_the_driver_is_told_of(kernel):
    shutil.rmtree(kernel.pci / "drivers/vfio-pci")
    kernel.module_is_there = False
    with pytest.raises(GpuUnclean, match=r"the host has no vfio-pci: .*not found"):
        bind_for_vms((GPU,), kernel.root)
    assert kernel.written == []


@pytest.mark.parametrize("where", [f"{GPU}/driver_override", "nouveau/unbind", "pci/drivers_probe"])
def test_what_the_kernel_refuses_is_told_with_the_file(kernel, where):
    kernel.refusals[where] = errno.EINVAL
    with pytest.raises(
        GpuUnclean, match=rf"{GPU} could not be bound to vfio-pci: .*{where}: Invalid argument"
    ):
        bind_for_vms((GPU,), kernel.root)


def test_a_function_that_vfio_does_not_take_is_told_of(kernel):
    kernel.refusals["probe"] = errno.EINVAL
    with pytest.raises(GpuUnclean, match="it refused, and the host's kernel log says why"):
        bind_for_vms((GPU,), kernel.root)


def test_a_function_that_is_not_there_is_not_bound(kernel):
    with pytest.raises(GpuUnclean, match=r"0000:7f:00\.0 is not on the bus"):
        bind_for_vms(("0000:7f:00.0",), kernel.root)


def test_who_is_given_no_gpu_reads_no_address(kernel):
    with pytest.raises(GpuUnclean) as refusal:
        bind_for_vms(("0000:7f:00.0",), kernel.root)
    assert refusal.value.message == "the GPU could not be given to the machine"


def test_groups_are_held_once_each_and_let_go(kernel):
    with held_groups((GPU, AUDIO, USB), kernel.root) as groups:
        assert groups.keys() == {GPU, AUDIO, USB}
        assert len(set(groups.values())) == 1
        assert kernel.files_open("1") == 1
    assert kernel.files_open("1") == 0


def test_a_group_that_something_has_open_is_in_use(kernel):
    kernel.in_use.add("1")
    with (
        pytest.raises(GpuInUse, match=rf"GPU {GPU} is in use, .*its IOMMU group 1"),
        held_groups((GPU,), kernel.root),
    ):
        pass


def test_a_function_without_a_group_is_told_of(tmp_path, monkeypatch):
    kernel = MadeUpKernel(a_card(tmp_path).root.parent, monkeypatch)
    (kernel.pci / "devices" / GPU / "iommu_group").unlink()
    with pytest.raises(GpuUnclean, match="in no IOMMU group"), held_groups((GPU,), kernel.root):
        pass


def test_a_group_that_vfio_does_not_show_is_told_of(kernel):
    (kernel.vfio / "1").unlink()
    with pytest.raises(GpuUnclean, match="vfio/1: No such file"), held_groups((GPU,), kernel.root):
        pass
