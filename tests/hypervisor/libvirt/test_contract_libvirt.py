from dataclasses import replace
from uuid import uuid4

import msgspec
import pytest
from tests.hypervisor.contract import (
    GuestContract,
    HypervisorContract,
    an_order,
    changes_of,
    eventually,
    taken,
)

from cumulet.hypervisor import DiskSpec, TakenFrom
from cumulet.hypervisor.libvirt import fsfreeze
from cumulet.hypervisor.libvirt.domains import find_domain
from cumulet.hypervisor.libvirt.image_capture import CaptureRecord

pytestmark = pytest.mark.lab


def status_of(host, spec):
    """Whether a guest holds its file systems still."""
    with host._agents.speak_with(spec.id, seconds=5) as agent:
        return agent.ask("guest-fsfreeze-status", str)


class TestMachinesOfLibvirt(HypervisorContract):
    def test_a_machine_undefined_while_it_runs_is_known_and_defined_again(self, host, running):
        before = host.machines.get(running.id)
        host._works.call(lambda link: find_domain(link, running.id).undefine())
        assert (
            host.machines.get(running.id)
            == host.machines.list()[running.id]
            == replace(before, spec_digest="")
        )
        host.machines.define(running)
        assert host.machines.get(running.id) == before
        assert host._works.call(lambda link: find_domain(link, running.id).isPersistent())


@pytest.mark.guest
class TestGuestsOfLibvirt(GuestContract):
    @pytest.fixture
    def image(self, micro):
        return micro

    def test_a_guest_that_answers_is_frozen_for_its_image_and_goes_on(self, host, booted, tmp_path):
        eventually(lambda: host.guests.ask(booted.id).first_boot_done)
        assert taken(host, an_order(booted, tmp_path)).taken_from is TakenFrom.FROZEN
        assert status_of(host, booted) == "thawed"

    @pytest.mark.parametrize("end", ["forget", "take"])
    def test_a_guest_that_a_death_left_frozen_goes_on(self, host, booted, tmp_path, end):
        eventually(lambda: host.guests.ask(booted.id).first_boot_done)
        order = an_order(booted, tmp_path)
        captures = host._paths.captures
        (captures / f"{order.image_id}.lock").touch()
        left = CaptureRecord(
            source=str(booted.boot_disk), part=str(captures / "part"), vm_id=booted.id, freezing=True
        )
        (captures / f"{order.image_id}.json").write_bytes(msgspec.json.encode(left))
        assert fsfreeze.freeze(host._agents, booted.id)
        assert status_of(host, booted) == "frozen"
        if end == "forget":
            eventually(lambda: host.images.forget_capture(order.image_id))
        else:
            taken(host, order)
        assert status_of(host, booted) == "thawed"

    def test_who_listens_is_told_when_a_guest_has_let_go_of_a_disk(self, host, booted):
        host.disks.create(DiskSpec(disk_id := uuid4(), 1, None, "local"))
        eventually(lambda: host.guests.ask(booted.id).first_boot_done)
        host.machines.hotplug(booted.id, (disk_id,))
        host.ping()
        with changes_of(host, booted.id) as changed:
            host.machines.hotplug(booted.id, ())
            assert changed.wait(30)
        assert host.machines.hotplug(booted.id, ()) == frozenset()
        host.disks.remove(disk_id)
