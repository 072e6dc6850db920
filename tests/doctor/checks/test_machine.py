from pathlib import Path

import pytest

from cumulet.doctor.checks.machine import (
    GIB,
    is_virtual,
    judge_confinement,
    judge_control_groups,
    judge_disk,
    judge_init,
    judge_kvm,
    judge_memory,
    measure_disk,
    measure_pool,
    read_if_there,
)
from cumulet.doctor.findings import Level
from cumulet.doctor.kvm import KvmVerdict

HANGS = KvmVerdict(works=False, reason="/dev/kvm opens, but a guest does not run")


def test_kvm_that_works_is_told_with_its_nesting():
    assert judge_kvm(KvmVerdict(works=True), nested=False, device=True).text == "works"
    assert "nested" in judge_kvm(KvmVerdict(works=True), nested=True, device=True).text


@pytest.mark.parametrize(
    ("nested", "device", "cure"),
    [(False, False, "firmware"), (True, True, "whoever runs this machine"), (False, True, "dmesg")],
)
def test_kvm_that_does_not_work_costs_speed_and_has_a_cure(nested, device, cure):
    finding = judge_kvm(HANGS, nested=nested, device=device)
    assert finding.level is Level.DEGRADED
    assert "TCG" in finding.cost
    assert cure in finding.cure


def test_a_vm_shows_in_its_processor_s_flags():
    assert is_virtual("processor\t: 0\nflags\t\t: fpu sse hypervisor lahf_lm\n")
    assert not is_virtual("processor\t: 0\nflags\t\t: fpu sse\nbugs: hypervisor\n")
    assert not is_virtual("")


def test_daemons_need_systemd_or_tini():
    assert judge_init(systemd=True, tini=False).level is Level.OK
    assert judge_init(systemd=False, tini=True).level is Level.OK
    assert judge_init(systemd=False, tini=False).cure == "apt-get install tini"


def test_control_groups_show_in_the_mounts():
    v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"
    assert judge_control_groups(v2).text == "v2"
    assert judge_control_groups(v2 + "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n").text == "v1"
    assert judge_control_groups("proc /proc proc rw 0 0\n").level is Level.DEGRADED


def test_memory_is_what_is_available():
    finding = judge_memory(
        "MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable:  4194304 kB\nHugePages_Total: 0\n"
    )
    assert (finding.level, finding.text) == (Level.OK, "4.0 of 8.0 GiB free")
    assert judge_memory("MemTotal: 2097152 kB\nMemAvailable: 1048576 kB\n").level is Level.DEGRADED


@pytest.mark.parametrize(("free", "level"), [(50, Level.OK), (5, Level.DEGRADED), (0, Level.BROKEN)])
def test_disk_is_judged_by_what_is_free(free, level):
    assert judge_disk(Path("/data"), free=free * GIB, total=100 * GIB).level is level


def test_the_disk_of_a_directory_to_come_is_measured(tmp_path):
    assert str(tmp_path / "not" / "yet") in measure_disk(tmp_path / "not" / "yet").text


def test_a_disk_pool_with_a_file_system_of_its_own_is_measured(tmp_path, monkeypatch):
    (pool := tmp_path / "fast").mkdir()
    monkeypatch.setattr("cumulet.hypervisor.mounts.device_of", lambda path: int(path == pool))
    finding = measure_pool("fast", pool, data_dir=tmp_path / "not" / "yet")
    assert (finding.name, finding.level) == ("disk pool fast", Level.OK)
    assert finding.text.endswith(f"GiB free at {pool}")


@pytest.mark.parametrize("there", [True, False])
def test_a_disk_pool_where_nothing_is_mounted_has_no_room(tmp_path, there):
    pool = tmp_path / "fast"
    if there:
        pool.mkdir()
    finding = measure_pool("fast", pool, data_dir=tmp_path)
    assert (finding.level, finding.text) == (Level.DEGRADED, f"nothing is mounted at {pool}")
    assert str(pool) in finding.cure


@pytest.mark.parametrize(
    ("found", "text", "cure"),
    [
        ({"apparmor": "Y\n"}, "AppArmor", ""),
        ({"selinux": "1"}, "SELinux", ""),
        ({"selinux": "0"}, "SELinux only warns", "setenforce"),
        ({}, "neither AppArmor nor SELinux", "security=apparmor"),
        ({"apparmor": "N\n"}, "neither AppArmor nor SELinux", "security=apparmor"),
        (
            {"apparmor": "Y\n", "profiles": False},
            "AppArmor, without libvirt's profiles",
            "libvirt-daemon-system",
        ),
        *(
            (
                {"apparmor": "Y\n", "loaded": loaded},
                "AppArmor, but libvirt's profile is not loaded",
                "install apparmor",
            )
            for loaded in ("", "libvirtd (complain)\n", "libvirtd//qemu_bridge_helper (enforce)\n")
        ),
    ],
)
def test_what_confines_guests_is_told_or_what_its_lack_costs_with_the_cure(found, text, cure):
    loaded = "libvirtd (enforce)\nlibvirtd//qemu_bridge_helper (enforce)\n"
    finding = judge_confinement(**{"apparmor": "", "profiles": True, "loaded": loaded, "selinux": ""} | found)
    assert finding.text == text
    assert (finding.level is Level.OK) is not bool(cure)
    assert ("disks of all others" in finding.cost) is bool(cure)
    assert cure in finding.cure


def test_a_file_of_the_kernel_that_is_not_there_says_nothing(tmp_path):
    assert read_if_there(tmp_path / "enforce") == ""
    (tmp_path / "enforce").write_text("1")
    assert read_if_there(tmp_path / "enforce") == "1"
