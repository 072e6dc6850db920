import struct
import subprocess

import pytest
from tests.images.makers import RAW_SIZE, a_file, a_qcow2, a_raw_disk

from cumulet.errors import Invalid
from cumulet.images.inspect import MAX_SIZE, inspect_disk


def refused(path):
    with pytest.raises(Invalid) as refusal:
        inspect_disk(path)
    return refusal.value.message


def test_a_qcow2_has_the_size_that_a_guest_sees(tmp_path):
    disk = inspect_disk(a_qcow2(tmp_path / "disk"))
    assert (disk.format, disk.size) == ("qcow2", 10 << 20)


def test_a_raw_disk_that_could_boot_is_accepted(tmp_path):
    disk = inspect_disk(a_raw_disk(tmp_path / "disk"))
    assert (disk.format, disk.size) == ("raw", RAW_SIZE)


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
    overlay = a_qcow2(tmp_path / "overlay", "-b", str(base), "-F", "qcow2")
    assert "only the changes to another file" in refused(overlay)


def test_an_image_that_keeps_its_data_elsewhere_is_refused(tmp_path):
    disk = a_qcow2(tmp_path / "disk", "-o", f"data_file={tmp_path / 'elsewhere'},data_file_raw=on")
    assert "keeps its data in another file" in refused(disk)


def test_an_encrypted_image_is_refused(tmp_path):
    """By the old cipher: for the new one qemu-img measures the processor, which fails where others leave it no time."""
    secret = ["--object", "secret,id=s,data=abc", "-o", "encrypt.format=aes,encrypt.key-secret=s"]
    assert "encrypted" in refused(a_qcow2(tmp_path / "disk", *secret))


def test_an_absurd_size_is_refused(tmp_path):
    path = tmp_path / "disk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(MAX_SIZE + 512)], check=True)
    assert "claims a size of" in refused(path)


def test_a_torn_qcow2_is_refused_with_the_words_of_qemu(tmp_path):
    header = b"QFI\xfb" + struct.pack(">I", 99)
    assert "qemu-img cannot read" in refused(a_file(tmp_path / "disk", header + bytes(1000)))
