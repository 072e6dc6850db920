"""What is read of GPUs from trees of plain files, of hosts of all sorts."""

import os
from pathlib import Path

import pytest
from tests.hypervisor.pci_trees import PciTree, consumer_card, hgx_board

from cumulet.hypervisor import HostGpus, Iommu, PciFunction
from cumulet.hypervisor.pci import read_gpus

PORT = "0000:00:01.0"
CARD = f"{PORT}/0000:01:00.0"


def only(tree):
    (gpu,) = read_gpus(tree.root).gpus
    return gpu


def test_a_host_without_pci_has_none(tmp_path):
    assert read_gpus(tmp_path / "nowhere") == HostGpus(Iommu.NO_TABLE, ())


def test_a_consumer_card_is_read_with_its_audio_and_usb(tmp_path):
    gpu = only(consumer_card(tmp_path))
    assert [(one.address, one.pci_id, one.kind, one.driver) for one in gpu.functions] == [
        ("0000:01:00.0", "10de:2684", "0300", "nouveau"),
        ("0000:01:00.1", "10de:22ba", "0403", "snd_hda_intel"),
        ("0000:01:00.2", "10de:1ad8", "0c03", "xhci_hcd"),
    ]
    assert (gpu.address, gpu.pci_id, gpu.subsystem_id, gpu.revision) == (
        "0000:01:00.0",
        "10de:2684",
        "1043:889d",
        "a1",
    )
    assert (gpu.iommu_group, gpu.group_others) == ("1", ())
    assert (gpu.boot_display, gpu.numa_node, gpu.bridges) == (True, None, (PORT,))
    assert gpu.bar_bytes == (16 << 20, 32 << 30, 32 << 20)
    assert gpu.answers


def test_a_card_of_several_functions_is_reset_by_the_bridge_above_it(tmp_path):
    assert only(consumer_card(tmp_path)).reset_methods == ("bus", "bridge")


def test_gpus_of_an_hgx_board_are_told_with_their_switches_and_nodes(tmp_path):
    gpus = read_gpus(hgx_board(tmp_path).root).gpus
    assert [gpu.numa_node for gpu in gpus] == [0] * 4 + [1] * 4
    assert gpus[3].bridges == ("0000:00:03.0", "0000:20:00.0", "0000:21:01.0")
    assert gpus[2].bridges[:2] == gpus[3].bridges[:2] != gpus[4].bridges[:2]
    assert {gpu.reset_methods for gpu in gpus} == {("flr", "bus", "bridge")}
    assert {gpu.bar_bytes[1] for gpu in gpus} == {128 << 30}
    assert {gpu.boot_display for gpu in gpus} == {False}


def test_what_a_card_was_split_into_is_no_gpu_and_none_of_its_functions(tmp_path):
    tree = PciTree(tmp_path)
    tree.add(PORT, "8086:460d", "0604")
    tree.add(CARD, "10de:26b9", "0302", group="1", sriov_numvfs="2")
    for number in (4, 5):
        path = f"{PORT}/0000:01:00.{number}"
        tree.add(path, "10de:26b9", "0302", group=str(number))
        (tree.root / "devices/pci0000:00" / path / "physfn").symlink_to("../0000:01:00.0")
    gpu = only(tree)
    assert (len(gpu.functions), gpu.virtual_functions) == (1, 2)


def test_a_second_display_of_an_older_card_is_the_same_gpu(tmp_path):
    tree = PciTree(tmp_path)
    tree.add(PORT, "8086:460d", "0604")
    tree.add(CARD, "1002:71c5", "0300")
    tree.add(f"{PORT}/0000:01:00.1", "1002:71e5", "0380")
    assert [one.address for one in only(tree).functions] == ["0000:01:00.0", "0000:01:00.1"]


def test_a_card_on_the_root_bus_has_nothing_that_resets_it(tmp_path):
    tree = PciTree(tmp_path)
    tree.add("0000:00:02.0", "8086:4680", "0300", group="2")
    assert (only(tree).bridges, only(tree).reset_methods) == ((), ())


def test_a_bridge_that_others_are_behind_resets_nothing(tmp_path):
    tree = PciTree(tmp_path)
    tree.add(PORT, "8086:460d", "0604")
    tree.add(CARD, "10de:2684", "0300", reset_method="pm bus")
    tree.add(f"{PORT}/0000:01:01.0", "8086:15bc", "0200")
    assert only(tree).reset_methods == ("pm", "bus")


def test_two_cards_in_one_group_share_it_and_bridges_in_it_do_not_count(tmp_path):
    tree = PciTree(tmp_path)
    tree.add(PORT, "8086:460d", "0604", group="1", driver="pcieport")
    tree.add("0000:00:02.0", "8086:460d", "0604", group="1", driver="pcieport")
    tree.add(CARD, "10de:2684", "0300", group="1")
    tree.add("0000:00:02.0/0000:02:00.0", "10de:2204", "0300", group="1", driver="nvidia")
    first, second = read_gpus(tree.root).gpus
    assert first.group_others == (PciFunction("0000:02:00.0", "10de:2204", "0300", "nvidia"),)
    assert second.group_others == (PciFunction("0000:01:00.0", "10de:2684", "0300", ""),)


def test_a_card_that_fell_off_the_bus_reads_as_ones(tmp_path):
    tree = PciTree(tmp_path)
    tree.add("0000:00:02.0", "10de:2330", "0302", config=b"\xff\xff")
    assert not only(tree).answers


def test_errors_that_nothing_mended_are_counted_over_the_whole_card(tmp_path):
    tree = PciTree(tmp_path)
    tree.add(PORT, "8086:460d", "0604", aer_dev_fatal="TOTAL_ERR_FATAL 100")
    fatal, nonfatal = "Undefined 0\nDLP 2\nTOTAL_ERR_FATAL 2", "TLP 1\nUnsupReq 4\nTOTAL_ERR_NONFATAL 5"
    tree.add(CARD, "10de:2684", "0300", aer_dev_fatal=fatal, aer_dev_nonfatal=nonfatal)
    tree.add(f"{PORT}/0000:01:00.1", "10de:22ba", "0403", aer_dev_nonfatal="TOTAL_ERR_NONFATAL 10")
    assert only(tree).errors == 17


def test_a_card_that_reports_no_errors_has_none(tmp_path):
    assert only(consumer_card(tmp_path)).errors == 0


@pytest.mark.parametrize("kind", ["0300", "0302", "0380", "1200"])
def test_all_kinds_of_gpus_are_found(tmp_path, kind):
    tree = PciTree(tmp_path)
    tree.add("0000:00:02.0", "1002:740f", kind)
    assert only(tree).functions[0].kind == kind


def test_devices_come_in_the_order_of_their_addresses(tmp_path):
    tree = PciTree(tmp_path)
    for bus in ("b3", "65", "17"):
        tree.add(f"0000:{bus}:00.0", "10de:2330", "0302")
    assert [gpu.address for gpu in read_gpus(tree.root).gpus] == [
        "0000:17:00.0",
        "0000:65:00.0",
        "0000:b3:00.0",
    ]


@pytest.mark.parametrize(
    ("how", "iommu"),
    [
        ({}, Iommu.ON),
        ({"remapping": False}, Iommu.NO_REMAPPING),
        ({"iommu": False, "remapping": False}, Iommu.OFF),
        ({"iommu": False, "remapping": False, "table": False}, Iommu.NO_TABLE),
    ],
)
def test_what_keeps_devices_from_being_given_away_has_three_causes(tmp_path, how, iommu):
    assert read_gpus(PciTree(tmp_path, **how).root).iommu is iommu


def test_a_device_that_vanishes_while_it_is_looked_at_is_not_there(tmp_path, monkeypatch):
    tree = consumer_card(tmp_path)
    listed = os.listdir

    def too_late(folder):
        return [*listed(folder), "0000:7f:00.0"]

    monkeypatch.setattr(os, "listdir", too_late)
    assert only(tree).address == "0000:01:00.0"


def test_config_is_not_read_beyond_the_vendor(tmp_path, monkeypatch):
    """Each byte is asked of the device, and some take a long time to answer."""
    tree, sizes, reads = hgx_board(tmp_path), {}, os.read

    def watched(file, size):
        sizes[Path(f"/proc/self/fd/{file}").readlink().name] = size
        return reads(file, size)

    monkeypatch.setattr(os, "read", watched)
    read_gpus(tree.root)
    assert sizes["config"] == 2
