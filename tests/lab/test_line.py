"""A machine on the ground becomes a host by SSH alone, and is one through whatever happens to its line."""

import os
import signal
from functools import partial

import pytest
from tests.hypervisor.contract import a_seed, a_spec
from tests.hypervisor.libvirt.conftest import micro
from tests.waiting import eventually

from cumulet.catalogue import read_catalogue
from cumulet.fleet import pin_host_key
from cumulet.fleet.adding import Addition
from cumulet.hypervisor import DiskSpec, HostUnreachable, Power
from cumulet.line.wire import PACKAGES
from cumulet.serve.backends import open_far_host

pytestmark = pytest.mark.lab
__all__ = ["micro"]


@pytest.fixture(scope="module")
def open_far(ground):
    return partial(open_far_host, catalogue=read_catalogue(None), installation="line", identity=ground.key)


def prepare(doctor, _, report):
    """Make a machine a host that is alone: its network is shown elsewhere."""
    doctor.prepare_host(report, packages=PACKAGES)


@pytest.fixture(scope="module")
def added(ground, open_far):
    """The URI of the first machine, which was added, and what it said that it has."""
    addition = Addition(f"ssh://{ground.machines[0].destination}", "local")
    facts = addition.do(open_far, pin_host_key, prepare)
    return addition.uri, facts


@pytest.fixture
def far(added, open_far):
    far = open_far(added[0], "local")
    yield far
    far.close()


def answers(far):
    try:
        far.ping()
    except HostUnreachable:
        return False
    return True


def test_a_machine_with_nothing_but_ssh_becomes_a_host(ground, added):
    uri, facts = added
    assert "host_key=ssh-ed25519" in uri
    assert (facts.name, facts.boot_id) == (
        ground.machines[0].name,
        ground.machines[0].run("cat", "/proc/sys/kernel/random/boot_id").strip(),
    )
    assert facts.cpus > 0


def test_to_add_it_again_changes_nothing(added, open_far):
    assert Addition(added[0], "local").do(open_far, pin_host_key, prepare) == added[1]


@pytest.mark.guest
def test_a_guest_boots_there_and_tells_and_shows_what_it_does(far, micro):
    spec = a_spec(micro)
    changed = []
    far.on_change(changed.append)
    eventually(lambda: far.images.copy(micro).ready)
    far.disks.create(DiskSpec(spec.boot_disk, micro.size_gib + 1, micro, "local"))
    far.seeds.write(a_seed(spec.id))
    far.machines.define(spec)
    far.machines.start(spec.id)
    try:
        assert far.machines.list()[spec.id].power is Power.RUNNING
        eventually(lambda: far.guests.ask(spec.id).agent)  # without a network its first boot takes a minute
        eventually(lambda: spec.id in changed)
        assert far.consoles.screenshot(spec.id).startswith(b"\x89PNG")
        with far.consoles.open_screen(spec.id) as screen:
            screen.settimeout(30)
            assert screen.recv(12) == b"RFB 003.008\n"
        assert far.consoles.log(spec.id, max_bytes=1000)
    finally:
        far.machines.undefine(spec.id)
        far.disks.remove(spec.boot_disk)
        far.seeds.remove(spec.id)
    assert spec.boot_disk not in far.disks.list()


def test_a_cable_that_is_cut_is_told_and_the_host_is_back_when_it_is_mended(ground, far):
    machine = ground.machines[0]
    far.ping()
    machine.cut()
    with pytest.raises(HostUnreachable):
        far.ping()
    machine.mend()
    eventually(lambda: answers(far))


@pytest.mark.parametrize("name", ["libvirtd", "sshd"])
def test_what_is_killed_there_is_told_and_comes_back(ground, far, name):
    machine = ground.machines[0]
    far.ping()
    listener, *others = machine.processes(name)  # of sshd, those that serve somebody
    for pid in others or [listener]:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: answers(far))


def test_another_machine_at_the_same_address_is_not_asked(ground, added, open_far):
    other = added[0].replace(ground.machines[0].name, ground.machines[1].name)
    far = open_far(other, "local")
    with pytest.raises(HostUnreachable, match="Host key verification failed"):
        far.ping()
    far.close()
