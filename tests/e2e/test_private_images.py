"""Images of real guests: what is written is in them, and who boots from one is somebody else."""

import pytest
from tests.e2e.real_cloud import RealCloud, Vm, eventually

pytestmark = pytest.mark.lab

IMAGES = "/v1/projects/default/images"
IDENTITY = "hostname; cat /etc/machine-id; cat /etc/dropbear/*_host_key | md5sum"


@pytest.fixture(scope="module")
def vm(cloud: RealCloud) -> Vm:
    """A guest with a file of its own."""
    vm = cloud.create("origin", startScript="echo origin >/root/who").wait_for_ssh()
    eventually(lambda: vm.shown()["guest"]["firstBootDone"])
    vm.output_of("dd if=/dev/urandom of=/root/work bs=1M count=20 2>/dev/null; sync")
    return vm


def take(vm, id):
    vm.cloud.ask("POST", IMAGES, params={"vmId": vm.name, "id": id})
    eventually(lambda: shown(vm.cloud, id)["state"] == "READY")
    return shown(vm.cloud, id)


def shown(cloud, id):
    return cloud.ask("GET", f"{IMAGES}/{id}")["image"]


def check_that_it_is_another(origin_lines, digest, clone):
    eventually(lambda: clone.shown()["guest"]["firstBootDone"])
    assert clone.output_of("md5sum /root/work") == digest
    assert clone.output_of("cat /root/who").strip() == clone.name
    lines = clone.output_of(IDENTITY).splitlines()
    assert lines[0] == clone.name
    assert not set(lines) & set(origin_lines)


def test_a_vm_of_an_image_of_a_running_vm_has_its_files_and_is_another(cloud, vm):
    digest, lines = vm.output_of("md5sum /root/work"), vm.output_of(IDENTITY).splitlines()
    image = take(vm, "live")
    assert image["takenFrom"] == "FROZEN"
    vm.output_of("touch /root/it-writes-on && sync")
    clone = cloud.create("clone", image="live", startScript="echo clone >/root/who").wait_for_ssh()
    check_that_it_is_another(lines, digest, clone)
    clone.verb("terminate")
    eventually(clone.gone)


def test_a_server_that_is_killed_over_it_takes_the_image_all_the_same(cloud, vm):
    cloud.ask("POST", IMAGES, params={"vmId": vm.name, "id": "killed"})
    cloud.kill()
    cloud.start()
    eventually(lambda: shown(cloud, "killed")["state"] == "READY")
    vm.output_of("touch /root/it-goes-on && sync")
    cloud.ask("DELETE", f"{IMAGES}/killed")


def test_a_vm_of_an_image_of_a_stopped_vm_has_its_files_and_is_another(cloud, vm):
    digest, lines = vm.output_of("md5sum /root/work"), vm.output_of(IDENTITY).splitlines()
    vm.verb("stop")
    vm.wait_for("STOPPED")
    assert take(vm, "still")["takenFrom"] == "STOPPED"
    clone = cloud.create("clone", image="still", startScript="echo clone >/root/who").wait_for_ssh()
    check_that_it_is_another(lines, digest, clone)
    clone.verb("terminate")
    eventually(clone.gone)
    vm.verb("terminate")
    eventually(vm.gone)
    for id in ("live", "still"):
        cloud.ask("DELETE", f"{IMAGES}/{id}")
    eventually(lambda: cloud.ask("GET", IMAGES)["totalCount"] == 0)
