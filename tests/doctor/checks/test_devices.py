from pathlib import Path

from cumulet.doctor.checks.devices import Gpu, find_gpus, has_iommu, judge_gpus
from cumulet.doctor.findings import Level

H100 = Gpu("0000:65:00.0", "3D controller", "NVIDIA", "10de:2330", "42", "vfio-pci")


def add_device(bus: Path, address: str, *, kind: str, id: str, group: str = "", driver: str = "") -> None:
    device = bus / address
    device.mkdir(parents=True)
    vendor, _, number = id.partition(":")
    for name, value in (("class", f"0x{kind}00"), ("vendor", f"0x{vendor}"), ("device", f"0x{number}")):
        (device / name).write_text(value + "\n")
    if group:
        (device / "iommu_group").symlink_to(f"../../../../kernel/iommu_groups/{group}")
    if driver:
        (device / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")


def test_gpus_are_found_by_their_class_in_the_order_of_addresses(tmp_path):
    add_device(tmp_path, "0000:b3:00.0", kind="1200", id="1002:74a1")
    add_device(tmp_path, "0000:65:00.0", kind="0302", id="10de:2330", group="42", driver="vfio-pci")
    add_device(tmp_path, "0000:17:00.0", kind="0300", id="10de:2684", driver="nouveau")
    add_device(tmp_path, "0000:00:1f.6", kind="0200", id="8086:15bc")
    assert find_gpus(tmp_path) == [
        Gpu("0000:17:00.0", "VGA controller", "NVIDIA", "10de:2684", "", "nouveau"),
        H100,
        Gpu("0000:b3:00.0", "accelerator", "AMD", "1002:74a1", "", ""),
    ]


def test_a_board_s_own_display_is_no_gpu(tmp_path):
    add_device(tmp_path, "0000:02:00.0", kind="0300", id="1a03:2000", driver="ast")
    assert find_gpus(tmp_path) == []


def test_a_host_without_pci_has_none(tmp_path):
    assert find_gpus(tmp_path / "nowhere") == []


def test_an_iommu_shows_by_its_groups(tmp_path):
    assert not has_iommu(tmp_path / "nowhere")
    assert not has_iommu(tmp_path)
    (tmp_path / "0").mkdir()
    assert has_iommu(tmp_path)


def test_a_gpu_behind_an_iommu_is_told_in_a_line():
    _, gpu = judge_gpus([H100], iommu=True)
    assert gpu.text == "NVIDIA 3D controller 10de:2330 at 0000:65:00.0, IOMMU group 42, driver vfio-pci"


def test_a_gpu_without_an_iommu_is_of_no_use():
    iommu, _ = judge_gpus([H100], iommu=False)
    assert iommu.level is Level.DEGRADED
    assert "intel_iommu=on" in iommu.cure


def test_nobody_misses_an_iommu_without_gpus():
    assert [finding.level for finding in judge_gpus([], iommu=False)] == [Level.OK, Level.OK]
