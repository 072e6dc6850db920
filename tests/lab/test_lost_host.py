"""VMs on storage that hosts share: one goes to another host without its disk, one goes on elsewhere when its machine dies."""

import subprocess

import pytest
from tests.e2e.real_cloud import lab_dir
from tests.lab.test_adding import state, vms_on
from tests.waiting import eventually

pytestmark = pytest.mark.lab

NAS = """
[[data_centers.disk_pools]]
id = "nas"
storage_classes = ["NETWORK"]
path = "{path}"
shared = true
disk_gib_price_hr = 1
snapshot_gib_price_hr = 1

[[machine_types]]"""


@pytest.fixture(scope="module")
def nas(real_cloud, ground):
    """A directory that the server and all machines have mounted, and that serves NETWORK."""
    path = lab_dir() / "nas"
    path.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=8g,mode=711", "nas", path), check=True)
    for machine in ground.machines[:2]:
        machine.switch_off()
        machine.switch_on()
    before = real_cloud.catalogue.read_text()
    own = before.replace('["LOCAL", "NETWORK"]', '["LOCAL"]')
    real_cloud.offer(own.replace("\n[[machine_types]]", NAS.format(path=path), 1))
    yield path
    real_cloud.offer(before)
    subprocess.run(("umount", "--lazy", path), check=True)


@pytest.fixture(scope="module")
def machines(nas, make_hosts, ground):
    """Two machines that are hosts."""
    return make_hosts(ground.machines[:2])


NETWORK = {"storageClass": "STORAGE_CLASS_NETWORK", "sizeGib": 1}


def test_a_guest_on_shared_storage_goes_to_another_host_while_it_runs_and_its_disk_is_not_copied(
    real_cloud, cumulet, nas, machines
):
    source, other = machines
    cumulet("host", "cordon", other.name)
    vm = real_cloud.create("roamer", bootDisk=NETWORK).wait_for_ssh()
    cumulet("host", "uncordon", other.name)
    boot = vm.output_of("cat /proc/sys/kernel/random/boot_id")
    vm.output_of("echo hard work >/root/kept && sync")
    (disk,) = nas.glob("*/*.qcow2")
    same = disk.stat().st_ino
    for there in (other, source):
        cumulet("vm", "move", "roamer", "--to", there.name)
        eventually(lambda: not real_cloud.ask("GET", "/v1/moves")["moves"])
        assert vms_on(real_cloud, there.name) == 1, vm.timeline()
        assert "while it ran; it stood still for" in vm.told("vm.moved")
        vm.wait_for_ssh()
        vm.output_of(f"echo {there.name} >>/root/kept && sync")
    assert vm.output_of("cat /proc/sys/kernel/random/boot_id") == boot
    assert [one.stat().st_ino for one in nas.glob("*/*.qcow2")] == [same]
    vm.verb("stop")
    vm.wait_for("STOPPED")
    vm.verb("start")
    vm.wait_for_ssh()
    assert vm.output_of("cat /root/kept").split("\n")[:3] == ["hard work", other.name, source.name]
    vm.verb("terminate")
    eventually(vm.gone)


def test_a_guest_on_shared_storage_goes_on_elsewhere_when_its_machine_is_dead_and_that_is_confirmed(
    real_cloud, cumulet, let_in, machines
):
    dying, other = machines
    cumulet("host", "cordon", other.name)
    vm = real_cloud.create("survivor", bootDisk=NETWORK)
    vm.wait_for("ACTIVE")
    cumulet("host", "uncordon", other.name)
    vm.wait_for_ssh()
    vm.output_of("echo hard work >/root/kept && sync")
    dying.switch_off()
    eventually(lambda: state(real_cloud, dying) == "SILENT")
    assert vm.shown()["state"] == "UNKNOWN"
    cumulet("host", "lost", dying.name, "--confirm")
    vm.wait_for("ACTIVE")
    vm.wait_for_ssh()
    assert vm.output_of("cat /root/kept").strip() == "hard work"
    assert vms_on(real_cloud, other.name) == 1
    assert vm.told("vm.moved") == "vm.moved: its host is lost: moved to another one"
    dying.switch_on()
    let_in(dying)
    eventually(lambda: state(real_cloud, dying) == "UP")
    assert not dying.processes("qemu-system-x86")
    vm.verb("terminate")
    eventually(vm.gone)
