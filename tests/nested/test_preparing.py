"""What `cumulet gpu prepare` does to a real kernel."""

import pytest

pytestmark = pytest.mark.lab

CARD = "0000:01:00.0"
BEHIND_A_SWITCH = ("0000:83:00.0", "0000:84:00.0")
NOBODY = "(null)"


@pytest.fixture
def prepared(told):
    return told.of("prepare")


def test_cards_that_can_be_given_are_kept_with_all_functions_and_no_other(prepared):
    kept = {address for address, found in prepared["overrides"].items() if set(found) == {"vfio-pci"}}
    assert kept == {CARD, *BEHIND_A_SWITCH}
    assert [found for address, found in prepared["overrides"].items() if address not in kept] == [
        [NOBODY]
    ] * 2
    assert set(prepared["drivers"][CARD]) == {"vfio-pci"}
    assert all(prepared["first"][f"GPU {address}"][0] == "done" for address in kept)


def test_those_that_cannot_are_left_to_the_host_with_why(prepared):
    left = [text for state, text in prepared["first"].values() if state == "the host's"]
    assert len(left) == 2
    assert any("nothing resets it for sure" in text for text in left)
    assert any("has others in it" in text for text in left)


def test_what_a_boot_lost_is_told_and_kept_again(prepared):
    assert prepared["lost"][f"GPU {CARD}"][0] == "yours to do"
    assert prepared["again"] == prepared["first"]


def test_undone_any_driver_may_take_them_again(prepared):
    assert "/etc/cumulet/bind-gpus" in prepared["removed"]
    assert {one for found in prepared["undone"].values() for one in found} == {NOBODY}
