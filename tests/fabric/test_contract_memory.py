import pytest
from tests.fabric.contract import FabricContract, TraceContract

from cumulet.fabric.memory import MemoryFabric


@pytest.fixture
def fabric():
    return MemoryFabric()


class TestMemory(FabricContract):
    pass


class TestMemoryTrace(TraceContract):
    pass
