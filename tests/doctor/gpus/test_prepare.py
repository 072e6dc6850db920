"""Hosts of every kind on their way to giving GPUs to VMs, and back."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.doctor.gpus.hosts import H100, HUGEPAGES, RADEON, RTX, Host, step

from cumulet.doctor.command import CommandFailed
from cumulet.doctor.gpus import files
from cumulet.doctor.gpus.prepare import keep_gpus
from cumulet.doctor.gpus.steps import StepState
from cumulet.errors import Invalid

DONE, TO_DO, REBOOT = StepState.DONE, StepState.TO_DO, StepState.REBOOT
YOURS, LEFT, WAITS = StepState.YOURS, StepState.LEFT, StepState.WAITS


def states(plan):
    return {one.name: one.state for one in plan.steps}


def test_without_a_table_in_the_firmware_only_that_is_told_and_nothing_is_written(tmp_path):
    host = Host(tmp_path, table=False, iommu=False)
    host.card(1, driver="nouveau")
    before = host.files()
    plan = host.prepare(hugepages=8)
    assert states(plan) == {"firmware": YOURS}
    assert "VT-d (Intel)" in plan.steps[0].next
    assert host.files() == before


def test_an_iommu_that_is_off_is_turned_on_by_grub_and_cards_wait_for_their_groups(tmp_path):
    host = Host(tmp_path, iommu=False)
    address = host.card(1, driver="nouveau")
    assert states(host.plan())["IOMMU"] is TO_DO
    after = host.prepare()
    assert (states(after)["IOMMU"], states(after)[f"GPU {address}"]) == (REBOOT, WAITS)
    assert 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX intel_iommu=on iommu=pt"\n' in host.read(files.GRUB)
    assert host.ran == [("update-grub",)]
    assert files.BINDER not in host.files()


def test_after_the_reboot_it_goes_on_with_the_cards(tmp_path):
    host = Host(tmp_path, iommu=False)
    address = host.card(1, driver="nouveau", audio="snd_hda_intel")
    host.prepare()
    host.reboot("quiet", "intel_iommu=on", "iommu=pt")
    (tmp_path / "sys/class/iommu/dmar0").mkdir()
    after = host.prepare()
    assert (states(after)["IOMMU"], states(after)[f"GPU {address}"]) == (DONE, REBOOT)
    assert "intel_iommu=on" in host.read(files.GRUB)
    host.reboot()
    host.run(("sh", str(tmp_path / files.BINDER), str(tmp_path / "sys")))
    host.drive(address, "vfio-pci")
    host.drive(f"{address[:-1]}1", "vfio-pci")
    assert set(states(host.plan()).values()) == {DONE}


def test_amds_iommu_has_its_own_words(tmp_path):
    host = Host(tmp_path, table=False, iommu=False)
    host.write("sys/firmware/acpi/tables/IVRS", "")
    host.card(1)
    host.prepare()
    assert files.words_of(host.read(files.GRUB)) == ("iommu=pt",)


def test_an_iommu_that_stays_off_after_the_reboot_says_so_instead_of_asking_for_another(tmp_path):
    host = Host(tmp_path, iommu=False)
    host.card(1)
    host.prepare()
    host.reboot()
    found = step(host.plan(), "IOMMU")
    assert (found.state, "grub.cfg" in found.next) == (YOURS, True)
    host.write("proc/cmdline", "intel_iommu=on iommu=pt")
    assert "dmesg" in step(host.plan(), "IOMMU").next


def test_words_of_somebody_else_that_turn_it_off_are_theirs_to_take_away(tmp_path):
    host = Host(tmp_path, iommu=False)
    host.card(1)
    host.write("proc/cmdline", "quiet intel_iommu=off")
    found = step(host.plan(), "IOMMU")
    assert (found.state, "take intel_iommu=off off" in found.next) == (YOURS, True)


def test_without_grub_the_operator_is_told_what_to_add(tmp_path):
    host = Host(tmp_path, iommu=False)
    (tmp_path / "usr/sbin/update-grub").unlink()
    host.card(1)
    found = step(host.prepare(), "IOMMU")
    assert (found.state, "add intel_iommu=on iommu=pt to what your boot loader" in found.next) == (
        YOURS,
        True,
    )
    assert files.GRUB not in host.files()


def test_without_interrupt_remapping_no_card_is_taken(tmp_path):
    host = Host(tmp_path, remapping=False)
    address = host.card(1)
    host.write("proc/cmdline", "quiet nointremap")
    plan = host.prepare()
    assert (step(plan, "interrupts").state, step(plan, f"GPU {address}").state) == (YOURS, WAITS)
    assert "take nointremap off" in step(plan, "interrupts").next
    host.write("proc/cmdline", "quiet")
    assert "x2APIC" in step(host.plan(), "interrupts").next
    assert files.BINDER not in host.files()


def test_a_card_that_no_driver_has_is_kept_at_once(tmp_path):
    host = Host(tmp_path)
    address = host.card(1)
    assert step(host.plan(), f"GPU {address}").state is TO_DO
    assert step(host.prepare(), f"GPU {address}").state is DONE
    assert [host.override(one) for one in (address, f"{address[:-1]}1")] == ["vfio-pci", "vfio-pci"]
    assert (tmp_path / "sys/bus/pci/drivers_probe").read_text() == f"{address[:-1]}1\n"


def test_of_twin_cards_the_one_that_is_named_is_kept_and_the_other_is_not_touched(tmp_path):
    host = Host(tmp_path)
    hosts_own, other = host.card(1, driver="nvidia"), host.card(2, driver="nvidia")
    plan = host.prepare(other)
    assert (step(plan, f"GPU {hosts_own}").state, step(plan, f"GPU {other}").state) == (LEFT, REBOOT)
    assert (host.override(hosts_own), host.override(other)) == ("", "vfio-pci")
    assert hosts_own not in host.read(files.BINDER)
    assert files.BLACKLIST not in host.files()


def test_the_boot_display_stays_the_hosts_and_its_twin_goes(tmp_path):
    host = Host(tmp_path)
    screen, other = host.card(1, driver="nouveau", boot_vga="1"), host.card(2, driver="nouveau")
    plan = host.prepare()
    assert (step(plan, f"GPU {screen}").state, step(plan, f"GPU {other}").state) == (LEFT, REBOOT)
    assert "the host's own screen is on it" in step(plan, f"GPU {screen}").text
    assert "first display" in step(plan, f"GPU {screen}").next
    assert host.override(screen) == ""


def test_whoever_names_a_card_that_cannot_be_given_has_something_to_do(tmp_path):
    host = Host(tmp_path)
    screen = host.card(1, boot_vga="1")
    assert step(host.prepare(screen), f"GPU {screen}").state is YOURS
    assert host.override(screen) == ""


def test_a_card_with_strangers_in_its_group_is_left_with_why_and_a_cure(tmp_path):
    host = Host(tmp_path)
    address = host.card(1)
    host.pci.add("0000:00:02.0", "8086:1533", "0200", group="1", driver="igb")
    found = step(host.prepare(), f"GPU {address}")
    assert found.state is LEFT
    assert "0000:00:02.0 (8086:1533, igb)" in found.text
    assert "ACS" in found.next
    assert files.BINDER not in host.files()


def test_a_card_that_nothing_resets_is_left(tmp_path):
    host = Host(tmp_path)
    address = host.card(1, reset_method="pm")
    host.pci.add("0000:00:01.0/0000:01:01.0", "8086:1533", "0200", group="8")
    found = step(host.prepare(), f"GPU {address}")
    assert (found.state, "nothing resets it for sure" in found.text) == (LEFT, True)


def test_a_card_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    host = Host(tmp_path)
    address = host.card(1)
    with pytest.raises(
        Invalid, match=f"ADDRESS: '0000:09:00.0' is not accepted; expected a GPU of this host: {address}"
    ):
        host.plan("0000:09:00.0")


def test_a_host_without_gpus_is_told_so(tmp_path):
    (only,) = Host(tmp_path, iommu=False).plan().steps
    assert (only.state, only.text) == (LEFT, "this host has none that VMs could get")


def test_drivers_that_only_cards_for_vms_need_are_not_loaded_any_more(tmp_path):
    host = Host(tmp_path)
    host.card(1, driver="nouveau", audio="snd_hda_intel")
    host.prepare()
    listed = re.findall("^blacklist (.+)$", host.read(files.BLACKLIST), re.MULTILINE)
    assert {"nouveau", "nvidia", "snd_hda_intel"} <= set(listed)
    assert "amdgpu" not in listed


def test_sound_of_the_hosts_own_and_what_joins_gpus_keep_their_drivers(tmp_path):
    host = Host(tmp_path)
    host.card(1, H100, driver="nvidia")
    host.card(2, RADEON, driver="amdgpu")
    host.pci.add("0000:00:1f.3", "8086:7ad0", "0403", group="9", driver="snd_hda_intel")
    host.pci.add("0000:00:1d.0/0000:0d:00.0", "10de:22a3", "0680", group="10", driver="nvidia")
    host.prepare()
    assert re.findall("^blacklist (.+)$", host.read(files.BLACKLIST), re.MULTILINE) == ["amdgpu", "radeon"]


def test_at_boot_cards_are_kept_before_drivers_and_libvirt_and_also_in_the_initial_ram_disk(tmp_path):
    host = Host(tmp_path)
    host.card(1, driver="nouveau")
    host.prepare()
    before = re.search("^Before=(.*)$", host.read(files.UNIT), re.MULTILINE)[1].split()
    assert {"systemd-udev-trigger.service", "systemd-modules-load.service", "libvirtd.service"} <= set(before)
    assert "Wants=cumulet-gpus.service" in host.read(files.WANTED)
    assert host.read(files.INITRAMFS) == host.read(files.BINDER)
    assert os.access(tmp_path / files.INITRAMFS, os.X_OK)
    assert host.ran == [("systemctl", "daemon-reload"), ("update-initramfs", "-u")]


def test_early_at_boot_what_is_beside_the_gpu_is_taken_from_drivers_of_the_kernel_but_never_from_a_vm(
    tmp_path,
):
    host = Host(tmp_path)
    address = host.card(1, driver="nouveau", audio="snd_hda_intel")
    host.prepare()
    taken = {}
    for name, driver in ((address, "nouveau"), (f"{address[:-1]}1", "snd_hda_intel")):
        link = tmp_path / "sys/bus/pci/devices" / name / "driver"
        (tmp_path / "sys/bus/pci/drivers" / driver).mkdir()
        link.symlink_to(f"../../../bus/pci/drivers/{driver}")
        link.unlink()
        link.symlink_to(tmp_path / "sys/bus/pci/drivers" / driver)
        taken[name] = tmp_path / "sys/bus/pci/drivers" / driver / "unbind"
    host.run(("sh", str(tmp_path / files.BINDER), str(tmp_path / "sys")))
    assert [path.exists() for path in taken.values()] == [False, False]
    host.run(("sh", str(tmp_path / files.BINDER), str(tmp_path / "sys"), "release"))
    assert [path.exists() for path in taken.values()] == [False, True]
    sound = tmp_path / "sys/bus/pci/devices" / f"{address[:-1]}1" / "driver"
    sound.unlink()
    sound.symlink_to(tmp_path / "sys/bus/pci/drivers/vfio-pci")
    host.run(("sh", str(tmp_path / files.BINDER), str(tmp_path / "sys"), "release"))
    assert not (tmp_path / "sys/bus/pci/drivers/vfio-pci/unbind").exists()


def test_another_card_at_the_same_address_is_left_to_the_host(tmp_path):
    host = Host(tmp_path)
    address = host.card(1)
    host.prepare()
    host.reboot()
    uevent = tmp_path / "sys/bus/pci/devices" / address / "uevent"
    uevent.write_text(uevent.read_text().replace(RTX.upper(), "8086:1533"))
    host.run(("sh", str(tmp_path / files.BINDER), str(tmp_path / "sys")))
    assert (host.override(address), host.override(f"{address[:-1]}1")) == ("", "vfio-pci")
    moved = step(host.plan(), f"keeping {address}")
    assert (moved.state, f"{RTX} was kept for VMs at {address}" in moved.text) == (TO_DO, True)
    host.prepare()
    assert RTX.upper() not in host.read(files.BINDER)


def test_a_second_time_nothing_is_changed_or_run(tmp_path):
    host = Host(tmp_path)
    host.card(1, driver="nouveau", audio="snd_hda_intel")
    host.write("proc/meminfo", f"MemTotal: {64 << 20} kB")
    host.prepare(hugepages=16)
    before = host.files()
    host.ran.clear()
    assert host.plan(hugepages=16).changes_nothing
    assert host.plan().changes_nothing
    host.prepare(hugepages=16)
    assert (host.files(), host.ran) == (before, [])


def test_a_card_that_is_not_named_any_more_is_given_back_at_the_next_boot(tmp_path):
    host = Host(tmp_path)
    one, other = host.card(1), host.card(2)
    host.prepare()
    assert step(host.plan(one), f"GPU {other}").state is TO_DO
    host.prepare(one)
    assert other not in host.read(files.BINDER)


def test_an_iommu_that_was_turned_off_again_costs_no_card_its_keeping(tmp_path):
    host = Host(tmp_path)
    address = host.card(1)
    host.prepare()
    (tmp_path / "sys/class/iommu/dmar0").rmdir()
    host.prepare()
    assert address in host.read(files.BINDER)


@pytest.mark.parametrize(("granted", "state"), [(16, DONE), (9, REBOOT)])
def test_hugepages_are_asked_for_at_once_and_at_boot(tmp_path, granted, state, monkeypatch):
    host = Host(tmp_path)
    host.card(1)
    whole = Path.write_text

    def kernel(path, text, **more):
        return whole(path, str(granted) if path.name == "nr_hugepages" else text, **more)

    monkeypatch.setattr(Path, "write_text", kernel)
    found = step(host.prepare(hugepages=16), "hugepages")
    assert found.state is state
    assert files.words_of(host.read(files.GRUB)) == ("hugepagesz=1G", "hugepages=16")
    assert found.text == ("16 GiB kept" if granted == 16 else "9 of 16 GiB kept")


def test_fewer_hugepages_are_a_change_like_more(tmp_path):
    host = Host(tmp_path)
    host.card(1)
    host.prepare(hugepages=16)
    assert step(host.plan(hugepages=0), "hugepages").state is TO_DO
    host.prepare(hugepages=0)
    assert (host.read(HUGEPAGES), files.words_of(host.read(files.GRUB))) == ("0\n", ())


def test_pages_that_somebody_else_keeps_are_left_as_they_are(tmp_path):
    host = Host(tmp_path)
    host.card(1)
    host.write(HUGEPAGES, "5")
    assert step(host.prepare(), "hugepages").text == "5 GiB kept"
    assert host.read(HUGEPAGES) == "5"


def test_more_hugepages_than_the_host_can_miss_are_refused(tmp_path):
    host = Host(tmp_path)
    host.card(1)
    with pytest.raises(Invalid, match="hugepages: 61 is not accepted; expected at most 60 of 64 GiB"):
        host.plan(hugepages=61)


def test_a_kernel_without_vfio_is_told(tmp_path):
    host = Host(tmp_path)
    host.card(1)
    (tmp_path / "sys/bus/pci/drivers/vfio-pci/bind").unlink()
    (tmp_path / "sys/bus/pci/drivers/vfio-pci").rmdir()
    assert step(host.plan(), "vfio-pci").state is YOURS
    host.write(
        f"lib/modules/{os.uname().release}/modules.dep", "kernel/drivers/vfio/pci/vfio-pci.ko.xz: other.ko\n"
    )
    assert step(host.plan(), "vfio-pci").state is DONE


@pytest.mark.parametrize(
    ("capabilities", "limit", "state"),
    [
        ("000001ffffffffff", "8388608", DONE),
        ("0000000000000000", "unlimited", DONE),
        ("0000000000000000", "8388608", TO_DO),
    ],
)
def test_libvirtd_may_lock_memory_by_its_capability_or_its_limit(tmp_path, capabilities, limit, state):
    host = Host(tmp_path)
    host.card(1)
    host.write("run/libvirtd.pid", "77")
    host.write("proc/77/status", f"Name:\tlibvirtd\nCapEff:\t{capabilities}\n")
    host.write(
        "proc/77/limits", f"Max locked memory         {limit}              {limit}              bytes\n"
    )
    assert step(host.plan(), "memlock").state is state
    host.prepare()
    assert (files.MEMLOCK in host.files()) == (state is TO_DO)


def test_a_setting_that_takes_every_card_of_a_model_is_told_when_one_is_the_hosts(tmp_path):
    host = Host(tmp_path)
    screen, _ = host.card(1, boot_vga="1"), host.card(2)
    host.write("etc/modprobe.d/mine.conf", f"options vfio-pci disable_vga=1 ids={RTX},10de:22ba\n")
    told = [one for one in host.plan().steps if "take every" in one.text]
    assert [(one.name, one.state) for one in told] == [(f"GPU {screen}", YOURS)]
    host.write("etc/modprobe.d/mine.conf", "")
    assert not [one for one in host.plan().steps if "take every" in one.text]
    host.write("proc/cmdline", f"quiet vfio-pci.ids={RTX}")
    assert [one for one in host.plan().steps if "take every" in one.text]


def test_when_a_program_fails_our_files_are_as_before(tmp_path):
    host = Host(tmp_path)
    host.card(1, driver="nouveau")
    before = host.files()
    host.fails = "update-initramfs"
    with pytest.raises(CommandFailed, match="no space left"):
        host.prepare()
    assert host.files() == before
    assert not host.plan().changes_nothing


def test_undone_the_host_is_as_it_was_and_others_files_were_never_touched(tmp_path):
    host = Host(tmp_path, iommu=False)
    address = host.card(1, driver="nouveau")
    host.write("etc/modprobe.d/mine.conf", "blacklist pcspkr\n")
    before = host.files()
    host.prepare(hugepages=4)
    (tmp_path / "sys/class/iommu/dmar0").mkdir()
    host.prepare()
    host.ran.clear()
    removed = host.undo()
    assert host.files() == before
    assert f"/{files.GRUB}" in removed
    assert {("update-grub",), ("update-initramfs", "-u"), ("systemctl", "daemon-reload")} <= set(host.ran)
    assert host.override(address) == ""
    assert host.undo() == []


def test_without_systemd_and_initramfs_tools_neither_gets_files(tmp_path):
    host = Host(tmp_path)
    (tmp_path / "run/systemd/system/unit").unlink()
    (tmp_path / "run/systemd/system").rmdir()
    (tmp_path / "etc/initramfs-tools/modules").unlink()
    (tmp_path / "etc/initramfs-tools").rmdir()
    address = host.card(1)
    keep_gpus(tmp_path)
    host.prepare()
    assert set(host.files()) & set(files.ALL) == {files.BINDER, files.BLACKLIST}
    assert host.ran == []
    host.reboot()
    assert step(host.plan(), f"GPU {address}").next == f"sh /{files.BINDER}"
    keep_gpus(tmp_path)
    assert step(host.plan(), f"GPU {address}").state is DONE


def test_words_for_the_kernel_are_added_to_those_that_are_there(tmp_path):
    host = Host(tmp_path, iommu=False)
    host.card(1)
    host.prepare(hugepages=2)
    read = f'GRUB_CMDLINE_LINUX="quiet"; . {tmp_path / files.GRUB}; echo "$GRUB_CMDLINE_LINUX"'
    words = subprocess.run(("sh", "-c", read), capture_output=True, text=True, check=True).stdout
    assert words == "quiet intel_iommu=on iommu=pt hugepagesz=1G hugepages=2\n"


def test_on_a_board_with_switches_the_driver_keeps_the_gpus_until_their_modules_are_written_down(
    tmp_path, monkeypatch
):
    host = Host(tmp_path)
    address = host.card(1, H100, driver="nvidia", reset_method="flr")
    modules = [{"physicalId": 1, "pciBusId": ""}]
    listing = {"partitionInfo": [{"partitionId": 0, "isActive": 0, "gpuInfo": modules}]}
    host.write("bin/fmpm", f"#!/bin/sh\necho '{json.dumps(listing)}'\n")
    (tmp_path / "bin/fmpm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    found = step(host.prepare(), f"GPU {address}")
    assert (found.state, "nvidia-smi -q > /etc/cumulet/nvidia-smi.txt" in found.next) == (LEFT, True)
    host.write("etc/cumulet/nvidia-smi.txt", "GPU 00000000:01:00.0\n        Module Id : 1\n")
    assert step(host.prepare(), f"GPU {address}").state is REBOOT
