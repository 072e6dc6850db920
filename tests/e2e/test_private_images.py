"""Images of real guests: one is whole whatever dies meanwhile, and who boots from one of a machine that is off is another."""

import pytest
from tests.e2e.looks import IDENTITY
from tests.e2e.real_cloud import RealCloud, Vm
from tests.lab.small_disk import small
from tests.waiting import eventually
from tests.words import COPY_FAILED

pytestmark = pytest.mark.lab

IMAGES = "/v1/projects/default/images"
WRITE_ON_AND_ON = """
echo $$ >/run/writer
while :; do dd if=/dev/zero of=/root/written bs=64k count=32 conv=fsync || touch /root/broken; done"""


@pytest.fixture(scope="module")
def vm(cloud: RealCloud) -> Vm:
    """A guest with a file of its own."""
    vm = cloud.create("origin", startScript="echo origin >/root/who").wait_for_ssh()
    eventually(lambda: vm.shown()["guest"]["firstBootDone"])
    vm.output_of("dd if=/dev/urandom of=/root/work bs=1M count=20 2>/dev/null; sync")
    return vm


def take(vm, id):
    vm.cloud.ask("POST", IMAGES, params={"vmId": vm.name, "id": id})


def shown(cloud, id):
    return cloud.ask("GET", f"{IMAGES}/{id}")["image"]


def test_a_server_that_is_killed_over_it_takes_the_image_all_the_same(cloud, vm):
    take(vm, "killed")
    cloud.kill()
    cloud.start()
    eventually(lambda: shown(cloud, "killed")["state"] == "READY")
    vm.output_of("touch /root/it-goes-on && sync")
    cloud.ask("DELETE", f"{IMAGES}/killed")


def test_a_disk_that_is_full_fails_the_image_its_log_says_why_and_the_guest_goes_on(cloud, vm):
    vm.output_of(f"sh -c '{WRITE_ON_AND_ON}' </dev/null >/dev/null 2>&1 &")
    captures = cloud.data_dir / "host/captures"
    with small(captures):
        cloud.ask("POST", IMAGES, params={"vmId": vm.name, "id": "full"})
        eventually(lambda: shown(cloud, "full")["state"] == "FAILED")
        eventually(lambda: list(captures.iterdir()) == [])
    assert COPY_FAILED in shown(cloud, "full")["problem"]
    assert "No space left" in cloud.log.read_text()
    vm.wait_for_ssh()
    vm.output_of("kill $(cat /run/writer); sync; ls -l /root/written; test ! -e /root/broken")
    cloud.ask("DELETE", f"{IMAGES}/full")


def test_a_vm_of_an_image_of_a_stopped_vm_has_its_files_and_is_another(cloud, vm):
    digest, identity = vm.output_of("md5sum /root/work"), vm.output_of(IDENTITY).splitlines()
    vm.verb("stop")
    vm.wait_for("STOPPED")
    take(vm, "still")
    eventually(lambda: shown(cloud, "still")["state"] == "READY")
    assert shown(cloud, "still")["takenFrom"] == "STOPPED"
    clone = cloud.create("clone", image="still", startScript="echo clone >/root/who").wait_for_ssh()
    eventually(lambda: clone.ssh("cat /root/who").stdout == b"clone\n")
    assert clone.output_of("md5sum /root/work") == digest
    assert clone.output_of("hostname") == "clone\n"
    assert not set(clone.output_of(IDENTITY).splitlines()) & set(identity)
    for each in (clone, vm):
        each.verb("terminate")
        eventually(each.gone)
    cloud.ask("DELETE", f"{IMAGES}/still")
    eventually(lambda: cloud.ask("GET", IMAGES)["totalCount"] == 0)
