"""A VM with a card in a whole cloud, from the create to the end: minutes, so that it is run when it is named (`make nested`)."""

import pytest
from tests.nested import hardware
from tests.nested.cloud import Clouded
from tests.nested.machine import VTD

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]


def test_a_vm_gets_the_card_that_it_asks_for_and_the_next_one_gets_it_clean(play):
    machine = (*VTD, *hardware.BOARD, *hardware.CARD)
    came = play("cloud", hardware=machine, memory_mib=4096, seconds=1700).of("cloud", Clouded)
    assert (came.before, came.held) == ("FREE", "HELD")
    assert {"1002:5046", "8086:2668", "1234:11e8"} <= {*came.seen}
    assert came.after == "FREE"
