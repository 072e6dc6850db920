"""Which GPUs are fit for VMs, and in which words the others are not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hypervisor.pci_trees import consumer_card, hgx_board

from cumulet.hypervisor import Iommu, PciFunction, PciGpu, unfit_causes
from cumulet.hypervisor.gpu_fitness import IOMMU_CAUSES, RESETS
from cumulet.hypervisor.pci import read_gpus

OTHER = PciFunction("0000:02:00.0", "10de:2204", "0300", "nvidia")
FIT = PciGpu(
    functions=(
        PciFunction("0000:01:00.0", "10de:2684", "0300", "vfio-pci"),
        PciFunction("0000:01:00.1", "10de:22ba", "0403", ""),
    ),
    subsystem_id="1043:889d",
    revision="a1",
    iommu_group="1",
    group_others=(),
    numa_node=None,
    bridges=("0000:00:01.0",),
    bar_bytes=(16 << 20,),
    reset_methods=("bridge",),
    boot_display=False,
    virtual_functions=0,
    answers=True,
)
HELD = (FIT.functions[0], replace(FIT.functions[1], driver="snd_hda_intel"))
FAULTS = {
    "answer": ({"answers": False}, "does not answer on the bus", "turn the host off"),
    "group": ({"iommu_group": ""}, "in no IOMMU group", "igfx_off"),
    "other": (
        {"group_others": (OTHER,)},
        "group 1 has others in it: 0000:02:00.0 (10de:2204, nvidia)",
        "ACS",
    ),
    "reset": ({"reset_methods": ()}, "nothing resets it for sure, so", "slot"),
    "pm": ({"reset_methods": ("pm",)}, "nothing resets it for sure (pm is not enough), so", "slot"),
    "bus": ({"reset_methods": ("bus",)}, "nothing resets it for sure (bus is not enough), so", "slot"),
    "display": ({"boot_display": True}, "the host's own screen", "first display"),
    "driver": (
        {"functions": HELD},
        "own drivers have it: 0000:01:00.1 (10de:22ba, snd_hda_intel)",
        "`cumulet gpu prepare` on the host, which keeps 0000:01:00.1",
    ),
    "parts": ({"virtual_functions": 4}, "4 virtual functions", "0000:01:00.0/sriov_numvfs"),
    "fabric": (
        {"fabric_problem": "which GPU is module 1 is not known"},
        "set up for VMs: which GPU is module 1 is",
        "nvidia-smi -q > /etc/cumulet/nvidia-smi.txt",
    ),
}


def test_a_card_that_nothing_is_wrong_with_is_fit():
    assert unfit_causes(FIT, Iommu.ON) == ()


@pytest.mark.parametrize(("fault", "problem", "cure"), FAULTS.values(), ids=FAULTS)
def test_each_cause_is_told_alone_in_words_with_its_cure(fault, problem, cure):
    (cause,) = unfit_causes(replace(FIT, **fault), Iommu.ON)
    assert problem in cause.problem
    assert cure in cause.cure


@pytest.mark.parametrize("iommu", [Iommu.NO_TABLE, Iommu.OFF])
def test_without_an_iommu_that_is_the_cause_and_not_that_there_are_no_groups(iommu):
    assert unfit_causes(replace(FIT, iommu_group=""), iommu) == (IOMMU_CAUSES[iommu],)


def test_without_interrupt_remapping_groups_count_all_the_same():
    causes = unfit_causes(replace(FIT, group_others=(OTHER,)), Iommu.NO_REMAPPING)
    assert [cause.problem.partition(" ")[0] for cause in causes] == ["the", "its"]


def test_three_iommu_causes_have_three_cures():
    assert len({cause.cure for cause in IOMMU_CAUSES.values()}) == len(Iommu) - 1


@given(
    st.sets(st.sampled_from([name for name in FAULTS if name not in {"group", "pm", "bus"}])),
    st.sampled_from(Iommu),
    st.booleans(),
)
def test_every_cause_is_told_whatever_else_is_wrong(faults, iommu, apart):
    broken = {name: value for fault in faults for name, value in FAULTS[fault][0].items()}
    numa = {"numa_node": 1} if apart else {}
    causes = unfit_causes(replace(FIT, **broken, **numa), iommu)
    unseen = {"other"} if iommu in {Iommu.NO_TABLE, Iommu.OFF} else set()
    told = "\n".join(cause.problem for cause in causes)
    assert len(causes) == len(faults - unseen) + (iommu is not Iommu.ON)
    assert all(FAULTS[fault][1] in told for fault in faults - unseen)


@given(st.lists(st.sampled_from([*sorted(RESETS), "pm", "acpi", "bus"])))
def test_a_card_is_fit_by_any_reset_that_leaves_nothing(methods):
    fit = not unfit_causes(replace(FIT, reset_methods=tuple(methods)), Iommu.ON)
    assert fit == bool(RESETS & set(methods))


def test_a_desktop_s_only_card_is_kept_by_its_screen_and_its_drivers(tmp_path):
    host = read_gpus(consumer_card(tmp_path).root)
    screen, drivers = unfit_causes(host.gpus[0], host.iommu)
    assert "screen" in screen.problem
    assert "nouveau" in drivers.problem
    assert "before nouveau and snd_hda_intel and xhci_hcd" in drivers.cure


def test_an_hgx_board_s_gpus_are_fit(tmp_path):
    host = read_gpus(hgx_board(tmp_path).root)
    assert {unfit_causes(gpu, host.iommu) for gpu in host.gpus} == {()}
