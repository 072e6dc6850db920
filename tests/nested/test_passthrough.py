"""What a guest reaches with a card that was given to it, and what becomes of cards and machines when something fails."""

import pytest
from tests.nested.places import CARD
from tests.nested.stories import Cleaned, Fallen, Faulted, Proved

from cumulet.hypervisor import Iommu, Power
from cumulet.hypervisor.gpu_fitness import unfit_causes

pytestmark = pytest.mark.lab

IDS = ["1002:5046", "8086:2668", "1234:11e8"]


@pytest.fixture
def proved(told):
    return told.of("proof", Proved)


@pytest.fixture
def fallen(told):
    return told.of("removal", Fallen)


@pytest.fixture
def faulted(told):
    return told.of("fault", Faulted)


def problems(gpu):
    return [cause.problem for cause in unfit_causes(gpu, Iommu.ON)]


def test_a_guest_finds_the_whole_card_and_may_let_it_reach_memory(proved):
    functions = proved.proof.functions
    assert [one.pci_id for one in functions] == IDS
    assert all(one.masters_bus and one.bars[0] for one in functions)


def test_a_card_copies_what_its_guests_memory_holds(proved):
    assert proved.proof.dma.inside


def test_a_card_neither_reads_nor_changes_memory_that_is_not_its_guests_and_the_host_sees_that_it_tried(
    proved,
):
    assert proved.proof.dma.outside == 0
    assert proved.kept
    assert any("[DMA Read" in fault for fault in proved.faults)
    assert any("[DMA Write" in fault for fault in proved.faults)


def test_a_card_that_falls_off_the_bus_is_found_and_is_not_clean(fallen):
    assert problems(fallen.gone) == ["it does not answer on the bus"]
    assert fallen.refusal == f"GPU {CARD} does not answer on the bus"
    assert fallen.back.answers


def test_a_card_that_a_guest_had_is_bound_reset_and_fit_again(told):
    card = told.of("clean", Cleaned).card
    assert {one.driver for one in card.functions} == {"vfio-pci"}
    assert problems(card) == []


def test_a_card_that_nothing_resets_is_refused_as_such(told):
    assert "cannot be reset" in told.of("clean", Cleaned).fixed


def test_half_a_card_is_refused_in_words(told):
    assert "IOMMU group" in told.of("half", str)


def test_a_card_is_not_reset_under_the_machine_that_runs_with_it(faulted):
    assert faulted.before is Power.RUNNING
    assert "is in use" in faulted.refusal


def test_a_machine_whose_card_reports_an_error_is_faulted_and_not_paused(faulted):
    assert faulted.after is Power.FAULTED


def test_after_a_fault_the_other_cards_of_the_machine_are_made_as_new(faulted):
    assert problems(faulted.card) == []
