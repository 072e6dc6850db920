"""A VM whose disk lies in Ceph: it goes to another host while it runs, and goes on elsewhere by itself when its machine dies."""

import pytest
from tests.ceph import POOL, USER, Ceph
from tests.e2e.real_cloud import lab_dir
from tests.lab.ground import SERVER
from tests.lab.test_adding import state, vms_on
from tests.waiting import eventually

pytestmark = pytest.mark.lab

IN_CEPH = f"""
[[data_centers.disk_pools]]
id = "ceph"
storage_classes = ["NETWORK"]
ceph_pool = "{POOL}"
ceph_user = "{USER}"
disk_gib_price_hr = 1
snapshot_gib_price_hr = 1

[[machine_types]]"""


@pytest.fixture(scope="module")
def ceph(real_cloud, ground):
    """A cluster on the server that all machines are let in to, and that serves NETWORK."""
    cluster = Ceph(lab_dir() / "ceph-of-cloud", SERVER)
    cluster.let_in()
    for machine in ground.machines[:2]:
        cluster.let_in(machine.run)
    before = real_cloud.catalogue.read_text()
    own = before.replace('["LOCAL", "NETWORK"]', '["LOCAL"]')
    real_cloud.offer(own.replace("\n[[machine_types]]", IN_CEPH, 1))
    yield cluster
    real_cloud.offer(before)
    cluster.stop()


@pytest.fixture(scope="module")
def machines(ceph, make_hosts, ground):
    """Two machines that are hosts."""
    return make_hosts(ground.machines[:2])


def test_a_guest_in_ceph_moves_while_it_runs_and_goes_on_elsewhere_when_its_machine_dies(
    real_cloud, cumulet, let_in, ceph, machines
):
    other, dying = machines
    cumulet("host", "cordon", dying.name)
    disk = {"storageClass": "STORAGE_CLASS_NETWORK", "sizeGib": 1}
    vm = real_cloud.create("survivor", bootDisk=disk).wait_for_ssh()
    cumulet("host", "uncordon", dying.name)
    boot = vm.output_of("cat /proc/sys/kernel/random/boot_id")
    vm.output_of("echo hard work >/root/kept && sync")
    cumulet("vm", "move", "survivor", "--to", dying.name)
    eventually(lambda: not real_cloud.ask("GET", "/v1/moves")["moves"])
    assert vms_on(real_cloud, dying.name) == 1, vm.timeline()
    assert "while it ran; it stood still for" in vm.told("vm.moved")
    vm.wait_for_ssh()
    assert vm.output_of("cat /proc/sys/kernel/random/boot_id") == boot
    vm.output_of("echo and more >>/root/kept && sync")
    dying.switch_off()
    eventually(lambda: state(real_cloud, dying) == "LOST")
    vm.wait_for("ACTIVE")
    vm.wait_for_ssh()
    assert vm.output_of("cat /root/kept").split() == ["hard", "work", "and", "more"]
    assert vms_on(real_cloud, other.name) == 1
    assert vm.told("vm.moved") == "vm.moved: its host is lost: moved to another one"
    dying.switch_on()
    let_in(dying)
    eventually(lambda: state(real_cloud, dying) == "UP")
    assert not dying.processes("qemu-system-x86")
    vm.verb("terminate")
    eventually(vm.gone)
