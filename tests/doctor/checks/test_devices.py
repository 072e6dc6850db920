import pytest
from tests.doctor.gpus.hosts import HUGEPAGES, RTX, Host
from tests.hypervisor.pci_trees import PciTree, consumer_card, hgx_board

from cumulet.doctor.checks.devices import judge_gpus, judge_preparation
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
    assert "cumulet gpu prepare" in gpu.cure


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


def findings(host):
    return {one.name: one for one in judge_preparation(host.survey())}


def test_without_gpus_nobody_is_told_what_gpus_need(tmp_path):
    assert judge_preparation(Host(tmp_path).survey()) == []


def test_with_gpus_the_module_hugepages_and_locked_memory_are_told(tmp_path):
    host = Host(tmp_path)
    host.card(1)
    assert {name: one.level for name, one in findings(host).items()} == dict.fromkeys(
        ("vfio-pci", "hugepages", "memlock"), Level.OK
    )
    host.write("run/libvirtd.pid", "77")
    host.write("proc/77/status", "CapEff:\t0000000000000000\n")
    memlock = findings(host)["memlock"]
    assert (memlock.level, memlock.cure) == (Level.DEGRADED, "cumulet gpu prepare")


def test_hugepages_that_the_kernel_did_not_keep_are_told(tmp_path):
    host = Host(tmp_path)
    host.card(1)
    host.prepare(hugepages=8)
    host.reboot()
    host.write(HUGEPAGES, "3")
    assert findings(host)["hugepages"].text == "3 of 8 GiB kept, though the host was told at its boot"


def test_a_card_that_was_not_kept_at_this_boot_is_told_with_the_command_that_keeps_it(tmp_path):
    host = Host(tmp_path)
    address = host.card(1)
    host.prepare()
    assert f"GPU {address}" not in findings(host)
    host.reboot()
    lost = findings(host)[f"GPU {address}"]
    assert (lost.level, lost.cure) == (Level.DEGRADED, "systemctl restart cumulet-gpus")
    host.drive(address, "nouveau")
    lost = findings(host)[f"GPU {address}"]
    assert "the host's drivers have it: nouveau, though the host was told at its boot" in lost.text
    assert "systemctl status cumulet-gpus" in lost.cure


def test_a_card_that_went_away_and_a_setting_that_takes_its_twin_are_told(tmp_path):
    host = Host(tmp_path)
    screen, other = host.card(1, boot_vga="1"), host.card(2)
    host.prepare()
    host.write("etc/modprobe.d/mine.conf", f"options vfio-pci ids={RTX}\n")
    (tmp_path / "sys/bus/pci/devices" / other).unlink()
    found = findings(host)
    assert "the host has no driver for it" in found[f"GPU {screen}"].cost
    assert found[f"keeping {other}"].cure == "cumulet gpu prepare"
