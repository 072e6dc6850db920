import pytest
from tests.hypervisor.contract import GuestContract, HypervisorContract

pytestmark = pytest.mark.lab


class TestMachinesOfLibvirt(HypervisorContract):
    pass


@pytest.mark.guest
class TestGuestsOfLibvirt(GuestContract):
    @pytest.fixture
    def image(self, micro):
        return micro
