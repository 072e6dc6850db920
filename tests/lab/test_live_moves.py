"""A real guest goes from one machine to another while it runs, whatever breaks on its way."""

from dataclasses import replace

import pytest
from tests.hypervisor.contract import a_seed, a_spec
from tests.hypervisor.libvirt.conftest import micro
from tests.lab.test_line import open_far, prepare
from tests.waiting import eventually

from cumulet.fleet import pin_host_key
from cumulet.fleet.adding import Addition
from cumulet.hypervisor import DiskSpec, HypervisorError, OffReason, Power
from cumulet.hypervisor.journey import Journey, Stage

pytestmark = [pytest.mark.lab, pytest.mark.guest]
__all__ = ["micro", "open_far"]


@pytest.fixture(scope="module")
def hosts(ground, open_far, micro):
    """Two machines that are hosts, with the image on them."""
    found = []
    for machine in ground.machines[:2]:
        addition = Addition(f"ssh://{machine.destination}", "local")
        addition.do(open_far, pin_host_key, prepare)
        found.append(open_far(addition.uri, "local"))
    for host in found:
        eventually(lambda host=host: host.images.copy(micro).ready)
    yield found
    for host in found:
        host.close()


@pytest.fixture(scope="module")
def guest(hosts, micro):
    """A guest that runs on the first host, in term 1."""
    spec = a_spec(micro)
    disk = DiskSpec(spec.boot_disk, micro.size_gib + 1, micro, "local")
    hosts[0].disks.create(disk)
    hosts[0].seeds.write(a_seed(spec.id))
    hosts[0].machines.define(spec)
    hosts[0].machines.start(spec.id)
    eventually(lambda: hosts[0].guests.ask(spec.id).agent)  # without a network its first boot takes a minute
    yield spec, disk
    for host in hosts:
        host.machines.undefine(spec.id)
        host.disks.remove(disk.id)
        host.seeds.remove(spec.id)
        host.consoles.remove_log(spec.id)


def go(spec, disk, source, target, *, term):
    """Have it go, and wait for the end of its journey."""
    target.seeds.write(a_seed(spec.id))
    expected = target.moves.expect(replace(spec, term=term), [disk], source.moves.prepare(spec.id))
    journey = Journey(
        Stage(vm_id=spec.id, term=term, source=source, target=target, expected=expected, log_bytes=65536)
    )
    journey.travel()
    return journey.still.result()


def test_one_that_is_to_stay_finds_no_gate_open_any_more(hosts, guest):
    spec, _ = guest
    moves = hosts[0].moves
    moves.prepare(spec.id)
    moves.stay(spec.id)
    with pytest.raises(HypervisorError, match="is not leaving"):
        moves.open_gate(spec.id)
    assert hosts[0].machines.get(spec.id).power is Power.RUNNING


def test_a_guest_goes_on_where_it_was_with_its_memory_and_its_disk(hosts, guest):
    spec, disk = guest
    source, target = hosts
    before = source.machines.get(spec.id)
    assert go(spec, disk, source, target, term=1) > 0
    here, there = source.machines.get(spec.id), target.machines.get(spec.id)
    assert (here.power, here.off_reason) == (Power.OFF, OffReason.MOVED)
    assert (there.power, there.started, there.term) == (Power.RUNNING, before.started, 1)
    assert there.spec_digest
    eventually(lambda: target.guests.ask(spec.id).agent)
    assert source.consoles.log(spec.id, max_bytes=65536) in target.consoles.log(spec.id, max_bytes=65536)
