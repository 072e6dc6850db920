"""`cumulet vm console` at a real guest."""

import pytest
from tests.e2e.looks import leaves, says, seated_at_console

pytestmark = [pytest.mark.lab, pytest.mark.guest]


def test_a_guest_asks_who_is_there_and_ctrl_bracket_leaves_it(ann):
    with seated_at_console(ann) as seat:
        says(seat, b"\r", until=b"ann login:")
        says(seat, b"somebody\r", until=b"Password:")
        assert leaves(seat)
