"""The contract again, with disks in a real Ceph: a monitor, a manager and one OSD on this private host."""

import errno
import signal
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import pytest
from tests.ceph import CONF, POOL, USER, Ceph, run
from tests.hypervisor.contract import DiskContract, a_spec, copy_image, prepare
from tests.waiting import eventually

from cumulet.hypervisor import CephPool, DiskSpec, OlderTerm, Power
from cumulet.hypervisor.ceph_client import CephClient, CephRefused
from cumulet.hypervisor.libvirt import open_host

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def ceph(lab_dir):
    cluster = Ceph(lab_dir / "ceph", "127.0.0.1")
    cluster.let_in()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def open_ceph_host(prepared, lab_dir, ceph):
    opened = []

    def open_another(name):
        host = open_host(
            "qemu:///system",
            installation="lab",
            state_dir=lab_dir / name,
            pools={"local": None},
            ceph={"fast": CephPool(POOL, USER)},
            kvm_works=prepared.kvm.works,
            userspace_datapath=prepared.datapath == "netdev",
        )
        opened.append(host)
        return host

    yield open_another
    for host in opened:
        host.close()


@pytest.fixture(scope="module")
def host(open_ceph_host):
    return open_ceph_host("lab")


def rbd(*words):
    return run("rbd", "--id", USER, "--pool", POOL, *words)


@pytest.fixture
def unmounted():
    """Has the host without what leads it to the cluster."""

    @contextmanager
    def without_conf():
        away = CONF.rename(CONF.with_name("away"))
        try:
            yield
        finally:
            away.rename(CONF)

    return without_conf


class TestDisksInCeph(DiskContract):
    home = "fast"

    @pytest.fixture(params=["fast"])
    def empty_disk(self, host, spec, request):
        host.disks.create(DiskSpec(id := uuid4(), 1, None, request.param))
        yield id
        host.machines.undefine(spec.id)
        host.disks.remove(id)

    def test_the_key_is_in_no_description_and_no_command_line(self, host, ceph, running, empty_disk):
        host.machines.hotplug(running.id, (empty_disk,))
        told = run("virsh", "dumpxml", "--security-info", f"cumulet-lab-{running.id}")
        for line in run("virsh", "secret-list").splitlines()[2:]:
            if line.strip():
                told += run("virsh", "secret-dumpxml", line.split()[0])
        told += run("ps", "-ww", "-eo", "args")
        told += run("sh", "-c", "cat /var/log/libvirt/qemu/*.log; ls -R /etc/libvirt/secrets 2>&1 || true")
        assert f"{POOL}/cumulet-lab-{empty_disk}" in told
        assert ceph.keyring.split("key = ")[1].strip() not in told

    def test_a_copy_whose_making_or_removing_died_is_made_anew(self, host, image):
        host.images.remove_copy(image.sha256)
        rbd("create", f"cumulet-lab-image-{image.sha256}", "--size", "1M")
        assert image.sha256 not in host.images.copies("fast")
        copy_image(host, image, "fast")
        assert host.images.copies("fast") == {image.sha256: image.size_gib << 30}

    def test_an_image_that_is_not_what_its_name_says_is_not_brought_in(self, host, image):
        other = replace(image, sha256="0" * 64)
        assert "has changed" in eventually(lambda: host.images.copy(other, "fast").error)
        assert other.sha256 not in host.images.copies("fast")
        assert other.sha256 not in rbd("ls")

    def test_a_term_is_met_beside_the_disks_by_a_host_that_never_heard_of_it(self, host, open_ceph_host):
        other = open_ceph_host("other")
        host.machines.keep_term(vm_id := uuid4(), 5)
        assert other.machines.terms()[vm_id] == 5
        with pytest.raises(OlderTerm):
            other.machines.keep_term(vm_id, 4)
        host.machines.forget_term(vm_id)
        assert vm_id not in other.machines.terms()

    def test_a_cluster_that_does_not_answer_has_no_room_and_the_other_pools_go_on(
        self, host, ceph, monkeypatch
    ):
        look = host._paths.pools.ceph[0]._look
        ceph.signal("mon.a", signal.SIGSTOP)
        try:
            monkeypatch.setattr(look, "at", float("-inf"))
            facts = host.facts()
            assert (facts.disk_gib["fast"], facts.disk_gib["local"] > 0) == (0, True)
            assert facts.shared_pools == {"fast": ""}
            host.disks.create(DiskSpec(id := uuid4(), 1, None, "local"))
            host.disks.remove(id)
        finally:
            ceph.signal("mon.a", signal.SIGCONT)
            look.at = float("-inf")
        assert host.facts().shared_pools == {"fast": f"{ceph.fsid}/{POOL}"}

    def test_the_hosts_key_lets_nobody_in_again_who_was_cut_off(self, ceph):
        client = CephClient(CephPool(POOL, USER))
        client.ceph("osd", "blocklist", "add", "192.0.2.1:0/7", "600")
        with pytest.raises(CephRefused) as refused:
            client.ceph("osd", "blocklist", "rm", "192.0.2.1:0/7")
        assert refused.value.number == errno.EACCES
        assert "192.0.2.1:0/7" in ceph.admin("osd", "blocklist", "ls")

    def test_of_a_disk_that_nobody_has_open_nobody_is_cut_off(self, host, empty_disk):
        assert host.disks.cut_off(empty_disk) == ()

    @pytest.mark.guest
    def test_a_guest_boots_from_ceph_sees_its_disk_grow_and_stands_still_once_it_is_cut_off(
        self, host, ceph, micro
    ):
        spec = a_spec(micro)
        prepare(host, micro, spec, pool="fast")
        host.machines.start(spec.id)
        eventually(lambda: host.guests.ask(spec.id).first_boot_done)
        host.disks.resize(spec.boot_disk, micro.size_gib + 3, vm_id=spec.id)
        assert host.disks.list()[spec.boot_disk] == micro.size_gib + 3
        cut_off = host.disks.cut_off(spec.boot_disk)
        assert cut_off
        assert all(address in ceph.admin("osd", "blocklist", "ls") for address in cut_off)
        host.machines.request_shutdown(spec.id)  # it writes what it has not yet
        eventually(lambda: host.machines.get(spec.id).power is Power.PAUSED_ON_IO_ERROR)
        host.machines.force_off(spec.id)
        host.machines.start(spec.id)
        assert host.machines.get(spec.id).power is Power.RUNNING
        host.machines.undefine(spec.id)
        host.disks.remove(spec.boot_disk)
        host.images.remove_copy(micro.sha256)
