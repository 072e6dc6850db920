"""A Debian with systemd, KVM and Open vSwitch in its kernel: added as a host by one command; and a server there as its units run it.

Minutes, so that it is run when it is named (`make nested`).
"""

import pytest
from tests.e2e.real_cloud import lab_dir
from tests.fabric.guests import run
from tests.lab.conftest import cumulet, home, hosts_of_the_cloud, let_in
from tests.lab.ground import SERVER_TUNNELS, open_tunnels
from tests.nested import debian_host
from tests.nested.debian_host import PROGRAM
from tests.waiting import eventually

__all__ = ["cumulet", "home", "hosts_of_the_cloud", "let_in"]
pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
UNITS = ("cumulet-helper", "cumulet")
SLOW = 900
"""Seconds for what is done on an emulated machine."""


@pytest.fixture
def machine(ground, tmp_path):
    """The machine as it is after its first boot, with SSH and packages and nothing else."""
    with debian_host.running(lab_dir() / tmp_path.name, ground.key) as machine:
        yield machine


def found_on(real_cloud, machine):
    return real_cloud.ask("GET", f"/v1/hosts/{machine.name}")["host"]


def test_one_command_makes_it_a_host_whose_vms_run_under_kvm_and_it_can_be_removed(
    real_cloud, cumulet, machine, home, let_in
):
    let_in(machine)
    added = cumulet("host", "add", machine.destination, "--name", machine.name)
    assert f"{machine.name} is UP after" in added.stderr
    eventually(lambda: found_on(real_cloud, machine)["examinedTime"], within=SLOW)
    found = found_on(real_cloud, machine)
    assert (found["findings"], found["accelerator"]) == ([], "kvm")

    machine.open_tunnels()
    open_tunnels(run, SERVER_TUNNELS)
    cumulet("host", "cordon", home)
    far = real_cloud.create("far", startScript="echo made >/root/made")
    cumulet("host", "uncordon", home)
    far.wait_for("ACTIVE", within=SLOW)
    assert found_on(real_cloud, machine)["vms"] == 1
    assert "<domain type='kvm'" in machine.run("sh", "-c", "virsh dumpxml $(virsh list --name)")
    far.wait_for_ssh(within=SLOW)
    assert far.output_of("cat /root/made") == "made\n"

    far.verb("terminate")
    eventually(far.gone, within=SLOW)
    eventually(lambda: machine.run("virsh", "list", "--all", "--name").strip() == "", within=SLOW)
    cumulet("host", "remove", machine.name)
    assert machine.name not in cumulet("host", "list", "-o", "name").stdout.split()


def test_a_server_and_its_helper_run_there_as_their_units_say(machine):
    machine.install()
    machine.run("mkdir", "-p", "/var/lib/cumulet")
    machine.run("cp", "-r", "--preserve=links", "/mnt/images", "/var/lib/cumulet/images")
    # As docs/guide/service.md has it.
    units = [f"/mnt/units/{name}.service" for name in UNITS]
    machine.run("install", "-m", "644", *units, "/etc/systemd/system/")
    machine.run("install", "-m", "600", "-D", "/dev/null", "/etc/cumulet/server.env")
    machine.run("systemctl", "enable", "--now", *UNITS, within=SLOW)
    assert [one_of(machine, unit, "ActiveState") for unit in UNITS] == ["active", "active"]
    assert [user_of(machine, unit) for unit in UNITS] == ["root", "cumulet"]

    machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519")
    machine.run(PROGRAM, "vm", "create", "hello", "--image=micro", "--disk=1", "--wait", within=SLOW)
    assert machine.run(PROGRAM, "vm", "ssh", "hello", "echo there").strip() == "there"
    assert "<domain type='kvm'" in machine.run("sh", "-c", "virsh dumpxml $(virsh list --name)")

    before = one_of(machine, "cumulet", "MainPID")
    machine.run("systemctl", "reload", "cumulet")
    assert one_of(machine, "cumulet", "MainPID") == before
    machine.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "cumulet")
    eventually(lambda: one_of(machine, "cumulet", "MainPID") not in {before, "0"}, within=SLOW)
    eventually(lambda: one_of(machine, "cumulet", "ActiveState") == "active", within=SLOW)
    machine.run("systemctl", "stop", *UNITS)
    assert [one_of(machine, unit, "Result") for unit in UNITS] == ["success", "success"]
    assert machine.run("virsh", "list", "--name").strip()


def one_of(machine, unit, name):
    """One property of a unit."""
    return machine.run("systemctl", "show", "--value", f"--property={name}", unit).strip()


def user_of(machine, unit):
    """Who its process is."""
    return machine.run("ps", "-o", "user=", "-p", one_of(machine, unit, "MainPID")).strip()
