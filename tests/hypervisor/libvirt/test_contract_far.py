"""The contract again, over the line: what a helper on a real host answers is what the host answers in this process."""

from functools import partial

import pytest
from tests.hypervisor.contract import GuestContract, HypervisorContract
from tests.line.conftest import WISH, helping

from cumulet.line.connections import dial_unix
from cumulet.line.far_host import FarHost

pytestmark = pytest.mark.lab


@pytest.fixture
def near_host(open_lab_host):
    return open_lab_host()


@pytest.fixture
def host(near_host, tmp_path):
    place = tmp_path / "helper.sock"
    with helping(lambda _: near_host, place):
        far = FarHost(partial(dial_unix, str(place)), WISH)
        far.on_change(lambda _: None)
        far.changes.followed.wait(30)
        yield far
        far.close()


@pytest.fixture
def place_of(near_host):
    return near_host._paths.pools.find_disk


class TestMachinesOfLibvirtOverTheLine(HypervisorContract):
    pass


@pytest.mark.guest
class TestGuestsOfLibvirtOverTheLine(GuestContract):
    @pytest.fixture
    def image(self, micro):
        return micro
