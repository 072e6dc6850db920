"""GPUs as the product reads them where there is an IOMMU, and what it says where there is none."""

import pytest
from tests.nested import hardware
from tests.nested.machine import VTD, VTD_WITHOUT_REMAPPING

from cumulet.hypervisor import HostGpus, Iommu
from cumulet.hypervisor.gpu_fitness import IOMMU_CAUSES, unfit_causes

pytestmark = pytest.mark.lab

CARD = "0000:01:00.0"
FIXED = "0000:00:0b.0"
SHARED = "0000:03:01.0"
BEHIND_A_SWITCH = ("0000:83:00.0", "0000:84:00.0")


@pytest.fixture
def gpus(seen):
    return {gpu.address: gpu for gpu in seen.gpus}


@pytest.fixture
def problems(seen, gpus):
    return lambda address: [cause.problem for cause in unfit_causes(gpus[address], seen.iommu)]


def test_a_card_with_its_audio_is_one_gpu_that_can_be_reset_by_the_bridge_above_it(gpus, problems):
    card = gpus[CARD]
    assert [one.address for one in card.functions] == [CARD, "0000:01:00.1", "0000:01:00.2"]
    assert card.bridges == ("0000:00:08.0",)
    assert "bridge" in card.reset_methods
    assert not card.boot_display
    assert problems(CARD) == []


def test_gpus_behind_a_switch_are_each_fit_and_told_by_their_node_and_the_switchs_ports(gpus, problems):
    first, second = (gpus[address] for address in BEHIND_A_SWITCH)
    assert (first.numa_node, second.numa_node) == (1, 1)
    assert first.bridges[:2] == second.bridges[:2] == ("0000:80:00.0", "0000:81:00.0")
    assert first.bridges[2] != second.bridges[2]
    assert first.iommu_group != second.iommu_group
    assert (problems(first.address), problems(second.address)) == ([], [])


def test_a_gpu_that_nothing_resets_is_unfit(problems):
    (problem,) = problems(FIXED)
    assert problem == "nothing resets it for sure, so the next VM could read what the last one left"


def test_a_gpu_that_shares_its_group_is_unfit_and_the_stranger_is_named(problems):
    group, reset = problems(SHARED)
    assert group.endswith("has others in it: 0000:03:02.0 (1234:11e8)")
    assert "the next VM could read" in reset  # a reset of their bus would meet both


def test_the_boards_own_screen_is_no_gpu(gpus):
    assert gpus.keys() == {CARD, FIXED, SHARED, *BEHIND_A_SWITCH}


@pytest.mark.parametrize(
    ("iommu", "kernel", "found"),
    [
        pytest.param((), "intel_iommu=on", Iommu.NO_TABLE, id="none in the firmware"),
        pytest.param(VTD, "intel_iommu=off", Iommu.OFF, id="not used by the kernel"),
        pytest.param(
            VTD_WITHOUT_REMAPPING, "intel_iommu=on", Iommu.NO_REMAPPING, id="no interrupt remapping"
        ),
    ],
)
def test_what_the_iommu_lacks_is_told_as_its_own_cause(play, iommu, kernel, found):
    machine = (*iommu, *hardware.BOARD, *hardware.CARD)
    seen = play("inventory", hardware=machine, kernel=kernel).of("inventory", HostGpus)
    (card,) = seen.gpus
    assert seen.iommu is found
    assert unfit_causes(card, seen.iommu)[0] == IOMMU_CAUSES[found]
