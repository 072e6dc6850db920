"""A server of its own process adds a machine on the ground as an operator would, and goes on with it."""

import pytest
from tests.fabric.guests import run
from tests.lab.ground import SERVER_TUNNELS, open_tunnels
from tests.waiting import eventually

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def machine(ground, let_in, none_stays):
    """A machine that lets the server in."""
    machine = ground.machines[1]
    let_in(machine)
    return machine


def state(real_cloud, machine):
    return real_cloud.ask("GET", f"/v1/hosts/{machine.name}")["host"]["state"]


def test_one_command_makes_a_machine_a_host(cumulet, machine):
    added = cumulet("host", "add", machine.destination, "--label", "rack=3", "--timeout", "2m")
    assert f"{machine.name} is UP after" in added.stderr
    assert cumulet("host", "list", "-o", "name").stdout.split().count(machine.name) == 1
    cumulet("host", "add", machine.destination)


def test_a_server_that_starts_anew_finds_it(real_cloud, machine):
    real_cloud.kill()
    real_cloud.start()
    eventually(lambda: state(real_cloud, machine) == "UP")


def test_it_is_silent_while_its_cable_is_cut_and_up_when_it_is_mended(real_cloud, machine):
    machine.cut()
    eventually(lambda: state(real_cloud, machine) == "SILENT")
    machine.mend()
    eventually(lambda: state(real_cloud, machine) == "UP")


@pytest.fixture
def far(real_cloud, cumulet, machine, home):
    """A VM on the machine that was added."""
    machine.open_tunnels()
    open_tunnels(run, SERVER_TUNNELS)
    cumulet("host", "cordon", home)
    far = real_cloud.create("far")
    cumulet("host", "uncordon", home)
    far.wait_for("ACTIVE")
    yield far
    far.verb("terminate")
    eventually(far.gone)


def vms_on(real_cloud, host):
    return real_cloud.ask("GET", f"/v1/hosts/{host}")["host"]["vms"]


def test_a_vm_runs_there_answers_and_goes_to_another_host_with_all_that_it_holds(
    real_cloud, cumulet, far, machine, home
):
    assert vms_on(real_cloud, machine.name) == 1
    far.wait_for_ssh()
    address = far.external()
    far.output_of("echo hard work >/root/kept && sync")
    cumulet("vm", "move", "far", "--to", home, "--restart")
    eventually(lambda: vms_on(real_cloud, machine.name) == 0)
    far.wait_for("ACTIVE")
    far.wait_for_ssh()
    assert (far.output_of("cat /root/kept").strip(), far.external()) == ("hard work", address)
    assert machine.run("find", "/var/lib/cumulet", "-name", "*.qcow2", "-path", "*disks*") == ""


def test_it_can_be_removed_and_added_again(real_cloud, cumulet, machine):
    cumulet("host", "remove", machine.name)
    assert machine.name not in cumulet("host", "list", "-o", "name").stdout.split()
    cumulet("host", "add", machine.destination, "--timeout", "2m")
    assert state(real_cloud, machine) == "UP"
