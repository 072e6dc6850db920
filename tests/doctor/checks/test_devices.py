import pytest
from tests.hypervisor.pci_trees import PciTree, consumer_card, hgx_board

from cumulet.doctor.checks.devices import judge_gpus
from cumulet.doctor.findings import Level
from cumulet.hypervisor.pci import read_gpus


def test_a_gpu_that_is_fit_is_told_in_a_line(tmp_path):
    iommu, gpu = judge_gpus(read_gpus(hgx_board(tmp_path, gpus=1).root))
    assert (iommu.level, iommu.text) == (Level.OK, "on")
    assert (gpu.level, gpu.text) == (
        Level.OK,
        "NVIDIA 3D controller 10de:2330 at 0000:12:00.0, IOMMU group 100, driver vfio-pci",
    )


def test_one_that_is_not_is_told_with_its_causes_and_cures(tmp_path):
    _, gpu = judge_gpus(read_gpus(consumer_card(tmp_path).root))
    assert gpu.level is Level.DEGRADED
    assert "the host's own screen is on it; the host's own drivers have it" in gpu.text
    assert "first display" in gpu.cure
    assert "driver_override" in gpu.cure


def test_without_an_iommu_that_is_told_once_and_not_of_each_gpu(tmp_path):
    tree = PciTree(tmp_path, iommu=False)
    tree.add("0000:00:01.0/0000:01:00.0", "10de:2330", "0302")
    iommu, gpu = judge_gpus(read_gpus(tree.root))
    assert (iommu.level, gpu.level) == (Level.DEGRADED, Level.OK)
    assert "intel_iommu=on" in iommu.cure


@pytest.mark.parametrize("iommu", [True, False])
def test_nobody_misses_an_iommu_without_gpus(tmp_path, iommu):
    findings = judge_gpus(read_gpus(PciTree(tmp_path, iommu=iommu).root))
    assert [finding.level for finding in findings] == [Level.OK, Level.OK]
