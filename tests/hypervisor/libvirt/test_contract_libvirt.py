import os
import signal
from pathlib import Path

import pytest
from tests.hypervisor.contract import GuestContract, HypervisorContract

pytestmark = pytest.mark.lab


@pytest.fixture
def kill():
    def kill_qemu(vm_id):
        pid = int(Path(f"/run/libvirt/qemu/cumulet-lab-{vm_id}.pid").read_text())
        os.kill(pid, signal.SIGKILL)

    return kill_qemu


class TestMachinesOfLibvirt(HypervisorContract):
    pass


@pytest.mark.guest
class TestGuestsOfLibvirt(GuestContract):
    @pytest.fixture
    def image(self, micro):
        return micro
