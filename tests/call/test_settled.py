"""A request that only work under way stands against waits for that, within its patience."""

import anyio
import pytest

from cumulet.call import settled
from cumulet.call.settled import once_settled
from cumulet.errors import Refused


class Door:
    """Opens when it was asked so often."""

    def __init__(self, opens_at: int, *, passing: bool = True) -> None:
        self.opens_at, self.passing = opens_at, passing
        self.asked = 0

    async def ask(self) -> bytes:
        self.asked += 1
        if self.asked < self.opens_at:
            raise Refused(f"not at {self.asked}", reason="VM_NOT_READY", passing=self.passing)
        return b"open"


def test_what_passes_is_waited_for():
    door = Door(3)
    assert anyio.run(once_settled, door.ask) == b"open"
    assert door.asked == 3


def test_what_stays_is_refused_at_once():
    door = Door(3, passing=False)
    with pytest.raises(Refused, match="not at 1"):
        anyio.run(once_settled, door.ask)
    assert door.asked == 1


def test_patience_ends_with_the_last_refusal(monkeypatch):
    monkeypatch.setattr(settled, "PATIENCE_S", 0.1)
    door = Door(1000)
    with pytest.raises(Refused) as refusal:
        anyio.run(once_settled, door.ask)
    assert refusal.value.message == f"not at {door.asked}"
    assert door.asked > 1
