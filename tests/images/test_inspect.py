import os
import struct
import subprocess
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.images.makers import (
    BOOT_CODE,
    ESP_TYPE,
    RAW_SIZE,
    a_file,
    a_partitioned_disk,
    a_qcow2,
    a_raw_disk,
    an_empty_qcow2,
)
from tests.words import ONLY_CHANGES

from cumulet.errors import Invalid
from cumulet.hypervisor import Firmware
from cumulet.images.booting import firmware_of
from cumulet.images.inspect import MOST_GIB, inspect_disk


def refused(path):
    with pytest.raises(Invalid) as refusal:
        inspect_disk(path)
    return refusal.value.message


def test_a_qcow2_has_the_size_that_a_guest_sees(tmp_path):
    disk = inspect_disk(a_qcow2(tmp_path / "disk"))
    assert (disk.format, disk.size, disk.firmware) == ("qcow2", RAW_SIZE, Firmware.BIOS)


def test_a_raw_disk_that_could_boot_is_accepted(tmp_path):
    disk = inspect_disk(a_raw_disk(tmp_path / "disk"))
    assert (disk.format, disk.size, disk.firmware) == ("raw", RAW_SIZE, Firmware.BIOS)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\n <!DOCTYPE html><html>", "a web page"),
        (b"\xfd7zXZ\x00", "compressed with xz; unpack it first"),
        (b"\x1f\x8b\x08", "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"KDMV\x01", "a VMDK disk; convert it"),
        (b"", "neither a qcow2 nor a raw disk"),
        (bytes(RAW_SIZE), "neither a qcow2 nor a raw disk"),
        (b"hello", "neither a qcow2 nor a raw disk"),
        (bytes(510) + b"\x55\xaa" + bytes(32257) + b"CD001", "an ISO 9660 disc"),
    ],
)
def test_what_is_no_disk_is_refused_by_what_it_is(tmp_path, content, what):
    assert what in refused(a_file(tmp_path / "disk", content))


def test_an_image_that_reads_another_file_is_refused(tmp_path):
    base = a_qcow2(tmp_path / "base")
    overlay = an_empty_qcow2(tmp_path / "overlay", "-b", str(base), "-F", "qcow2")
    assert ONLY_CHANGES in refused(overlay)


def test_an_image_that_keeps_its_data_elsewhere_is_refused(tmp_path):
    disk = an_empty_qcow2(tmp_path / "disk", "-o", f"data_file={tmp_path / 'elsewhere'},data_file_raw=on")
    assert "keeps its data in another file" in refused(disk)


def test_an_encrypted_image_is_refused(tmp_path):
    """By the old cipher: for the new one qemu-img measures the processor, which fails where others leave it no time."""
    secret = ["--object", "secret,id=s,data=abc", "-o", "encrypt.format=aes,encrypt.key-secret=s"]
    assert "encrypted" in refused(an_empty_qcow2(tmp_path / "disk", *secret))


@pytest.mark.parametrize("size", ["10T", str((MOST_GIB << 30) + 512), "512"])
def test_an_absurd_size_is_refused(tmp_path, size):
    said = refused(an_empty_qcow2(tmp_path / "disk", size=size))
    assert "claims a size of" in said
    assert f"accepted are disks from 1048576 bytes to {MOST_GIB} GiB" in said


@pytest.mark.parametrize("missing", [70_000, 500_000])
def test_a_qcow2_that_was_cut_short_is_refused(tmp_path, missing):
    raw, disk = (
        a_file(tmp_path / "raw", BOOT_CODE.ljust(510, b"\0") + b"\x55\xaa" + os.urandom(4 << 20)),
        tmp_path / "disk",
    )
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", raw, disk], check=True)
    assert inspect_disk(disk).firmware is Firmware.BIOS
    os.truncate(disk, disk.stat().st_size - missing)
    assert "truncated or damaged" in refused(disk)


LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


@pytest.mark.parametrize(
    ("label", "type", "code", "firmware"),
    [
        ("gpt", ESP_TYPE, b"", Firmware.UEFI),
        ("gpt", ESP_TYPE, BOOT_CODE, Firmware.BIOS),
        ("gpt", LINUX, BOOT_CODE, Firmware.BIOS),
        ("dos", "ef", b"", Firmware.UEFI),
        ("dos", "83", BOOT_CODE, Firmware.BIOS),
    ],
)
def test_what_a_disk_starts_by_is_found_in_its_partition_table(tmp_path, label, type, code, firmware):
    disk = a_partitioned_disk(tmp_path / "disk", label, type, code=code)
    assert inspect_disk(disk).firmware is firmware
    packed = tmp_path / "packed"
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", disk, packed], check=True)
    assert inspect_disk(packed).firmware is firmware


@pytest.mark.parametrize(("label", "type"), [("gpt", LINUX), ("dos", "83")])
def test_a_disk_that_nothing_starts_is_refused(tmp_path, label, type):
    assert "neither code for a BIOS nor an EFI" in refused(a_partitioned_disk(tmp_path / "disk", label, type))


def test_an_empty_disk_is_refused(tmp_path):
    assert "it has no boot signature" in refused(an_empty_qcow2(tmp_path / "disk"))


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_a_raw_disk_that_was_cut_short_is_refused(tmp_path, label):
    disk = a_partitioned_disk(tmp_path / "disk", label, ESP_TYPE if label == "gpt" else "ef")
    os.truncate(disk, (2 << 20) - 512)
    assert "truncated" in refused(disk)


@given(st.binary(max_size=2048), st.binary(max_size=700))
def test_no_partition_table_is_too_odd_to_be_read_or_refused(table, code):
    start = code[:510].ljust(510, b"\0") + b"\x55\xaaEFI PART" + table.ljust(2048, b"\0")
    with suppress(Invalid):
        firmware_of(start, 1 << 40)


def test_a_torn_qcow2_is_refused_with_the_words_of_qemu(tmp_path):
    header = b"QFI\xfb" + struct.pack(">I", 99)
    assert "qemu-img cannot read" in refused(a_file(tmp_path / "disk", header + bytes(1000)))
