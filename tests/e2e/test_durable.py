"""Whatever dies at whatever moment: what was asked for comes to be without a hand, and what was given up is gone."""

import random
import subprocess
import time

import pytest
from tests.e2e.processes import QEMU, kill, pids_of
from tests.e2e.real_cloud import RealCloud, Vm
from tests.e2e.traces import Parts, output_of, traces
from tests.waiting import eventually

pytestmark = pytest.mark.lab

MOMENTS = [0.0, 0.1, 0.25, 0.6]
"""Seconds after a request at which the server is killed; a machine starts some 0.3 s after it was asked for."""


def ovn(*command: str) -> str:
    return subprocess.run(("ovn-nbctl", *command), check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def vm(cloud: RealCloud) -> Vm:
    return cloud.create("lasting").wait_for_ssh()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_server_killed_while_it_creates_and_deletes_finishes_both_when_it_is_back(cloud, moment):
    moment += random.uniform(0, 0.05)  # noqa: S311 - a moment, not a secret
    name = f"brief-{int(moment * 1000)}"
    brief = cloud.create(name)
    time.sleep(moment)
    cloud.kill()
    cloud.start()
    brief.wait_for("ACTIVE")
    parts = Parts.of(brief)
    brief.verb("terminate")
    time.sleep(moment / 3)
    cloud.kill()
    cloud.start()
    eventually(brief.gone)
    eventually(lambda: traces(cloud, parts) == [])


@pytest.mark.parametrize("moment", MOMENTS[:3])
def test_a_server_killed_over_a_vm_that_is_given_up_while_it_is_made_leaves_nothing(cloud, moment):
    given_up = cloud.create(f"given-up-{int(moment * 1000)}")
    parts = Parts.of(given_up)
    time.sleep(moment + random.uniform(0, 0.05))  # noqa: S311 - a moment, not a secret
    given_up.verb("terminate")
    cloud.kill()
    cloud.start()
    eventually(given_up.gone)
    eventually(lambda: traces(cloud, parts) == [])


@pytest.mark.parametrize("moment", [0.05, 1.5])
def test_a_server_killed_while_it_stops_and_starts_a_guest_finishes_both_when_it_is_back(cloud, vm, moment):
    vm.verb("stop")
    time.sleep(moment)
    cloud.kill()
    cloud.start()
    vm.wait_for("STOPPED")
    assert "guest shutdown" in vm.told("vm.stopped")
    vm.verb("start")
    time.sleep(moment / 4)
    cloud.kill()
    cloud.start()
    vm.wait_for_ssh()


@pytest.mark.parametrize("daemon", ["ovn-controller", "ovs-vswitchd", "ovsdb-server"])
def test_a_killed_daemon_of_the_network_costs_no_guest_and_no_request(cloud, vm, daemon):
    before = pids_of(QEMU, Parts.of(vm).vm)
    kill(daemon)
    meanwhile = cloud.create(f"meanwhile-{daemon}").wait_for_ssh()
    eventually(vm.answers)
    assert pids_of(QEMU, Parts.of(vm).vm) == before
    meanwhile.verb("terminate")
    eventually(meanwhile.gone)


def test_a_guest_whose_qemu_was_killed_runs_again(vm):
    kill(QEMU, Parts.of(vm).vm)
    eventually(lambda: vm.told("vm.crashed"))
    vm.wait_for_ssh()


def test_a_killed_libvirtd_costs_no_guest_and_no_request(cloud, vm):
    before = pids_of(QEMU, Parts.of(vm).vm)
    kill("libvirtd")
    cloud.create("meanwhile").wait_for("ACTIVE")
    assert pids_of(QEMU, Parts.of(vm).vm) == before
    eventually(vm.answers)
    Vm(cloud, "meanwhile", "default").verb("terminate")


def test_a_guest_killed_while_nobody_looked_runs_again(cloud, vm):
    id = Parts.of(vm).vm
    cloud.kill()
    kill(QEMU, id)
    kill("libvirtd")
    cloud.start()
    eventually(lambda: pids_of(QEMU, id))
    vm.wait_for_ssh()


def test_a_logical_port_removed_by_hand_comes_back(cloud, vm):
    ovn("lsp-del", Parts.of(vm).nic)
    cloud.stop()
    cloud.start()
    eventually(lambda: Parts.of(vm).nic in ovn("--bare", "--columns=name", "list", "Logical_Switch_Port"))
    eventually(vm.answers)


def test_a_machine_undefined_by_hand_comes_back_with_its_disk(cloud, vm):
    assert vm.output_of("echo kept > /root/kept && sync && cat /root/kept") == "kept\n"
    domain = Parts.of(vm).vm
    subprocess.run(("virsh", "destroy", domain), check=True, capture_output=True)
    subprocess.run(("virsh", "undefine", domain), check=True, capture_output=True)
    cloud.stop()
    cloud.start()
    vm.wait_for_ssh()
    assert vm.output_of("cat /root/kept") == "kept\n"


def test_a_machine_undefined_while_it_runs_runs_on_and_is_defined_again(vm):
    domain, process = Parts.of(vm).vm, pids_of(QEMU, Parts.of(vm).vm)
    subprocess.run(("virsh", "undefine", domain), check=True, capture_output=True)
    eventually(lambda: domain in output_of("virsh", "--quiet", "list", "--uuid", "--persistent").split())
    eventually(vm.answers)
    assert pids_of(QEMU, domain) == process


def test_an_external_bridge_deleted_by_hand_comes_back(cloud, vm):
    bridges = subprocess.run(
        ("ovs-vsctl", "list-br"), check=True, capture_output=True, text=True
    ).stdout.split()
    (external,) = [bridge for bridge in bridges if bridge.startswith("cx-")]
    subprocess.run(("ovs-vsctl", "del-br", external), check=True)
    cloud.stop()
    cloud.start()
    eventually(vm.answers)


def test_a_second_server_on_the_same_database_is_turned_away(cloud):
    second = cloud.launch(CUMULET_LISTEN="127.0.0.1:8490")
    assert second.wait(timeout=60) == 1
    assert "another server runs on" in cloud.log.read_text()
