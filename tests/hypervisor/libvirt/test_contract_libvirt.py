from uuid import uuid4

import pytest
from tests.hypervisor.contract import GuestContract, HypervisorContract, changes_of, eventually

from cumulet.hypervisor import DiskSpec

pytestmark = pytest.mark.lab


class TestMachinesOfLibvirt(HypervisorContract):
    pass


@pytest.mark.guest
class TestGuestsOfLibvirt(GuestContract):
    @pytest.fixture
    def image(self, micro):
        return micro

    def test_who_listens_is_told_when_a_guest_has_let_go_of_a_disk(self, host, booted):
        host.create_disk(DiskSpec(disk_id := uuid4(), 1, None))
        eventually(lambda: host.guest(booted.id).first_boot_done)
        host.plug_disks(booted.id, (disk_id,))
        host.ping()
        with changes_of(host, booted.id) as changed:
            host.plug_disks(booted.id, ())
            assert changed.wait(30)
        assert host.plug_disks(booted.id, ()) == frozenset()
        host.remove_disk(disk_id)
