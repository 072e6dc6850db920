"""What only a real host does: its libvirtd dies, others use it too, and it changes under what was defined on it."""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs
from tests.hypervisor.contract import a_spec, changes_of, copy_image, found, prepare
from tests.waiting import eventually

from cumulet.errors import Invalid
from cumulet.hypervisor import (
    NO_GUEST,
    DiskSpec,
    HostUnreachable,
    HypervisorError,
    OffReason,
    Power,
    spec_digest,
)
from cumulet.hypervisor.libvirt import open_host

lab = pytest.mark.lab
QEMU_USER = "libvirt-qemu"


@pytest.fixture
def running(host, image):
    spec = a_spec(image)
    prepare(host, image, spec)
    host.machines.start(spec.id)
    yield spec
    eventually(lambda: answers(host))
    host.machines.undefine(spec.id)
    host.disks.remove(spec.boot_disk)
    host.seeds.remove(spec.id)
    host.consoles.remove_log(spec.id)


@pytest.fixture
def fast_disk(host):
    host.disks.create(DiskSpec(disk_id := uuid4(), 1, None, "fast"))
    yield disk_id
    eventually(lambda: answers(host))
    host.disks.remove(disk_id)


def answers(host):
    with suppress(HostUnreachable):
        host.ping()
        return True
    return False


@lab
def test_machines_survive_libvirtd_and_verbs_work_again_without_help(host, running, kill_libvirtd):
    before = found(host, running.id)
    kill_libvirtd()
    eventually(lambda: answers(host))
    assert found(host, running.id) == before
    host.machines.force_off(running.id)
    host.machines.start(running.id)
    assert found(host, running.id).started not in {0, before.started}


@lab
def test_while_libvirtd_is_away_its_host_is_unreachable(host, running, kill_libvirtd):
    def unreachable():
        with suppress(HostUnreachable):
            host.machines.get(running.id)
            return False
        return True

    kill_libvirtd()
    eventually(unreachable)


@lab
def test_a_machine_that_died_while_libvirtd_was_away_is_told_of_afterwards(
    host, running, kill_libvirtd, kill
):
    with changes_of(host, running.id) as changed:
        eventually(lambda: answers(host))
        changed.clear()
        kill_libvirtd()
        kill(running.id)
        assert changed.wait(30)
    eventually(lambda: is_crashed(host, running.id))


def is_crashed(host, vm_id):
    with suppress(HostUnreachable):
        return found(host, vm_id).off_reason is OffReason.CRASHED
    return False


def is_in_hand(host, vm_id):
    """Whether libvirtd speaks with the machine again; of one that ends before, it tells nothing."""
    with suppress(HypervisorError):
        return bool(host.consoles.screenshot(vm_id))
    return False


@lab
def test_events_come_again_after_libvirtd_died(host, running, kill_libvirtd, kill):
    with changes_of(host, running.id) as changed:
        eventually(lambda: answers(host))
        kill_libvirtd()
        assert changed.wait(30), "nobody was told that events may have been missed"
        eventually(lambda: is_in_hand(host, running.id))
        changed.clear()
        kill(running.id)
        assert changed.wait(30)


@lab
def test_a_call_under_way_when_libvirtd_dies_fails_and_can_be_made_again(host, image, kill_libvirtd):
    specs = [a_spec(image) for _ in range(6)]
    failures = []

    def make(spec):
        try:
            prepare(host, image, spec)
        except HypervisorError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=make, args=(spec,)) for spec in specs]
    for thread in threads:
        thread.start()
    kill_libvirtd()
    for thread in threads:
        thread.join()
    assert all(isinstance(failure, HostUnreachable) for failure in failures), failures
    eventually(lambda: answers(host))
    for spec in specs:
        prepare(host, image, spec)
        assert host.disks.list()[spec.boot_disk] == image.size_gib + 1
        host.machines.undefine(spec.id)
        host.disks.remove(spec.boot_disk)
        host.seeds.remove(spec.id)


@lab
def test_two_installations_on_one_host_do_not_see_each_others_things(open_lab_host, host, running, fast_disk):
    other = open_lab_host("other")
    assert other.machines.list() == {}
    assert other.disks.list() == {}
    assert other.seeds.list() == frozenset()
    assert running.id in host.machines.list()
    assert {running.boot_disk, fast_disk} == host.disks.list().keys()


@lab
def test_disks_come_back_with_their_pool_though_libvirtd_began_without_it(
    host, fast_disk, unmounted, kill_libvirtd
):
    with unmounted():
        kill_libvirtd()
        eventually(lambda: answers(host))
        assert fast_disk not in host.disks.list()
    assert fast_disk in host.disks.list()
    host.disks.resize(fast_disk, 2, vm_id=None)
    assert host.disks.list()[fast_disk] == 2


@lab
def test_a_disk_whose_file_is_gone_is_not_there_until_it_is_brought_back(host, fast_disk, disk_path):
    path = Path(disk_path(fast_disk))
    elsewhere = path.rename(path.with_suffix(".away"))
    assert fast_disk not in host.disks.list()
    elsewhere.rename(path)
    assert fast_disk in host.disks.list()


@lab
def test_a_disk_whose_file_has_gone_under_libvirt_is_made_when_it_is_asked_for(host, fast_disk, disk_path):
    path = Path(disk_path(fast_disk))
    path.unlink()
    host.disks.create(DiskSpec(fast_disk, 2, None, "fast"))
    assert path.exists()
    assert host.disks.list()[fast_disk] == 2


@lab
def test_a_disk_of_which_libvirt_has_not_heard_is_found_and_can_be_removed(host, fast_disk, disk_path):
    path = Path(disk_path(fast_disk))
    path.rename(unheard := path.with_stem(str(uuid4())))
    id = UUID(unheard.stem)
    assert host.disks.list().keys() == {id}
    host.disks.create(DiskSpec(id, 5, None, "fast"))
    assert host.disks.list()[id] == 1
    path.write_bytes(unheard.read_bytes())
    host.disks.remove(fast_disk)
    assert not path.exists()
    host.disks.remove(id)
    assert not unheard.exists()


@lab
def test_what_disks_are_based_on_stays_roots_and_for_nobody_to_write(host, image, running):
    base = host._paths.image(image)
    disk = host._paths.pools.find_disk(running.boot_disk).path
    assert disk.owner() == QEMU_USER
    assert (base.owner(), base.stat().st_mode & 0o777) == ("root", 0o444)
    as_qemu = ("setpriv", "--reuid", QEMU_USER, "--regid", "kvm", "--clear-groups", "sh", "-c")
    for attempt in (f"echo x >>{base}", f"chmod u+w {base}", f"rm -f {base}", f"ln {base} {disk}.link"):
        done = subprocess.run((*as_qemu, attempt), capture_output=True, text=True, check=False)
        assert done.returncode != 0, attempt
    assert (
        subprocess.run((*as_qemu, f"head -c 4 {base}"), capture_output=True, check=True).stdout == b"QFI\xfb"
    )


@lab
def test_a_base_that_was_tampered_with_is_not_used_and_made_anew(host, image):
    copy_image(host, image)
    base, disk = host._paths.image(image), DiskSpec(uuid4(), image.size_gib, image, "local")
    with base.open("r+b") as file:
        file.seek(100_000)
        file.write(b"tampered")
    with pytest.raises(HypervisorError, match="has changed"):
        host.disks.create(disk)
    assert disk.id not in host.disks.list()
    assert "copied again" in eventually(lambda: host.images.copy(image).error)
    copy_image(host, image)
    assert base.read_bytes() == image.path.read_bytes()
    host.disks.create(disk)
    host.disks.remove(disk.id)


@lab
def test_a_pool_that_gets_another_name_keeps_its_disks(open_lab_host, host, fast, fast_disk):
    renamed = open_lab_host(nvme=fast)
    assert fast_disk in renamed.disks.list()
    renamed.disks.create(DiskSpec(disk_id := uuid4(), 1, None, "nvme"))
    assert host.disks.list().keys() == {fast_disk, disk_id}
    host.disks.remove(disk_id)


@lab
def test_a_pool_whose_file_system_is_mounted_elsewhere_is_looked_for_there(
    open_lab_host, host, fast, fast_disk
):
    (elsewhere := fast / "elsewhere").mkdir(exist_ok=True)
    moved = open_lab_host(fast=elsewhere)
    assert moved.disks.list() == {}
    moved.disks.create(DiskSpec(disk_id := uuid4(), 1, None, "fast"))
    assert (elsewhere / "cumulet-lab" / f"{disk_id}.qcow2").exists()
    moved.disks.remove(disk_id)
    assert host.disks.list().keys() == {fast_disk}


@lab
def test_first_disks_of_a_pool_are_made_by_several_threads_at_once(open_lab_host, fast):
    (fresh := fast / "fresh").mkdir()
    host = open_lab_host(fresh=fresh)
    disks = [DiskSpec(uuid4(), 1, None, "fresh") for _ in range(8)]
    with ThreadPoolExecutor(len(disks)) as threads:
        list(threads.map(host.disks.create, disks))
    assert host.disks.list().keys() == {disk.id for disk in disks}
    for disk in disks:
        host.disks.remove(disk.id)


@lab
def test_a_host_opens_without_the_file_system_of_a_pool_and_says_so(open_lab_host, unmounted, fast):
    with unmounted(), capture_logs() as logged:
        assert open_lab_host().facts().disk_gib["fast"] == 0
        assert list(fast.iterdir()) == []
    assert [f"nothing is mounted at {fast} " in line["problem"] for line in logged] == [True]


@lab
def test_a_pool_that_qemu_cannot_get_to_is_refused_with_the_cure(open_lab_host, fast):
    (closed := fast / "closed").mkdir(mode=0o700)
    with pytest.raises(HypervisorError, match=f"chmod o\\+x {closed}"):
        open_lab_host(closed=closed)


@lab
def test_domains_of_others_are_no_concern_of_ours(host, running):
    xml = "<domain type='qemu'><name>theirs</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    subprocess.run(("virsh", "--quiet", "define", "/dev/stdin"), input=xml.encode(), check=True)
    assert host.machines.list().keys() == {running.id}
    subprocess.run(("virsh", "--quiet", "undefine", "theirs"), check=True)


@lab
def test_a_machine_that_its_host_outgrew_must_be_defined_anew(host, running):
    assert found(host, running.id).spec_digest == spec_digest(running)
    paths = host.machines._paths
    host.machines._paths = replace(paths, userspace_datapath=not paths.userspace_datapath)
    assert found(host, running.id).spec_digest != spec_digest(running)
    host.machines.define(running)
    assert found(host, running.id).spec_digest == spec_digest(running)
    assert found(host, running.id).power is Power.RUNNING


@lab
def test_a_machine_that_is_forgotten_leaves_no_log_behind(host, running):
    def logs():
        return list(Path("/var/log/libvirt/qemu").glob(f"*{running.id}*"))

    assert logs()
    host.machines.undefine(running.id)
    assert not logs()


@lab
def test_a_machine_whose_mark_was_edited_away_is_seen_and_mended(host, running):
    name = f"cumulet-lab-{running.id}"
    subprocess.run(
        ("virsh", "--quiet", "metadata", name, "urn:cumulet:vm", "--config", "--remove"), check=True
    )
    assert host.machines.list()[running.id].spec_digest == ""
    host.machines.force_off(running.id)
    host.machines.start(running.id)
    host.machines.define(running)
    assert found(host, running.id).spec_digest == spec_digest(running)
    assert found(host, running.id).started != 0


@lab
def test_a_guest_that_listens_to_nothing_does_not_hold_up_who_presses_its_button(host, running):
    host.machines.request_shutdown(running.id)
    assert host.guests.ask(running.id) == NO_GUEST
    assert found(host, running.id).power is Power.RUNNING


@lab
def test_a_guest_that_never_lets_go_has_its_disk_until_it_is_off(host, running):
    host.disks.create(DiskSpec(disk_id := uuid4(), 1, None, "local"))
    host.machines.hotplug(running.id, (disk_id,))
    for _ in range(3):
        assert host.machines.hotplug(running.id, ()) == {disk_id}
    with pytest.raises(HypervisorError, match=str(disk_id)):
        host.disks.remove(disk_id)
    host.machines.force_off(running.id)
    assert host.machines.hotplug(running.id, ()) == frozenset()
    host.disks.remove(disk_id)


@lab
def test_a_disk_that_another_client_gave_to_a_machine_of_his_is_not_removed(host, disk_path):
    host.disks.create(DiskSpec(disk_id := uuid4(), 1, None, "local"))
    disk = f"<disk type='file'><source file='{disk_path(disk_id)}'/><target dev='vda'/></disk>"
    xml = (
        "<domain type='qemu'><name>theirs</name><memory>65536</memory><os><type>hvm</type></os>"
        f"<devices>{disk}</devices></domain>"
    )
    subprocess.run(("virsh", "--quiet", "define", "/dev/stdin"), input=xml.encode(), check=True)
    with pytest.raises(HypervisorError, match="theirs"):
        host.disks.remove(disk_id)
    subprocess.run(("virsh", "--quiet", "undefine", "theirs"), check=True)
    host.disks.remove(disk_id)


def test_another_machines_libvirt_is_refused_for_now(tmp_path):
    with pytest.raises(Invalid, match="qemu:///system"):
        open_host(
            "qemu+ssh://elsewhere/system",
            installation="x",
            state_dir=tmp_path,
            pools={"local": None},
            kvm_works=False,
            userspace_datapath=False,
        )


def test_a_directory_that_qemu_cannot_get_to_is_refused_with_the_cure(tmp_path):
    tmp_path.chmod(0o700)
    with pytest.raises(HypervisorError, match=f"chmod o\\+x {tmp_path}"):
        open_host(
            "qemu:///system",
            installation="x",
            state_dir=tmp_path / "state",
            pools={"local": None},
            kvm_works=False,
            userspace_datapath=False,
        )


@lab
def test_a_machine_that_somebody_paused_past_libvirt_is_not_taken_for_a_fault(host, running):
    name = f"cumulet-lab-{running.id}"
    ask_qemu = ("virsh", "--quiet", "qemu-monitor-command", name)
    subprocess.run((*ask_qemu, '{"execute": "stop"}'), check=True)
    eventually(
        lambda: "unknown" in subprocess.check_output(("virsh", "domstate", "--reason", name), text=True)
    )
    assert found(host, running.id).power is Power.PAUSED
    assert host.machines.list()[running.id].power is Power.PAUSED
