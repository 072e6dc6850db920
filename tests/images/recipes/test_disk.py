import json
import subprocess

from cumulet.images.recipes.disk import (
    Partition,
    fill_ext4,
    make_fat,
    make_raw_disk,
    mebibytes,
    partition_table,
    write_at,
)

ROOT = Partition(1, mebibytes(4), mebibytes(8), "83", name="root")
BOOT = Partition(2, mebibytes(1), mebibytes(3), "c", bootable=True)


def test_a_partition_table_is_written_in_sectors():
    assert partition_table("dos", (BOOT, ROOT)) == (
        "label: dos\n"
        "2 : start=2048, size=6144, type=c, bootable\n"
        '1 : start=8192, size=16384, type=83, name="root"\n'
    )


def test_partitions_stand_where_they_were_asked_for(tmp_path):
    make_raw_disk(tmp_path / "disk", mebibytes(16), "gpt", (Partition(1, mebibytes(4), mebibytes(8), "L"),))
    listing = subprocess.run(["sfdisk", "--json", tmp_path / "disk"], capture_output=True, check=True).stdout
    (part,) = json.loads(listing)["partitiontable"]["partitions"]
    assert (part["start"] * 512, part["size"] * 512) == (mebibytes(4), mebibytes(8))


def test_a_file_system_is_laid_at_its_offset_with_its_files(tmp_path):
    disk, tree = tmp_path / "disk", tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/motd").write_text("hello")
    make_raw_disk(disk, mebibytes(16), "dos", (ROOT,))
    fill_ext4(disk, ROOT, tree, label="the-root")
    (tmp_path / "fs").write_bytes(disk.read_bytes()[ROOT.start : ROOT.end])
    check = subprocess.run(["e2fsck", "-fn", tmp_path / "fs"], capture_output=True, check=False)
    assert check.returncode == 0, check.stdout
    read = ["debugfs", "-R", "cat /etc/motd", tmp_path / "fs"]
    assert subprocess.run(read, capture_output=True, check=True).stdout == b"hello"


def test_a_fat_holds_files_in_folders(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"boot me")
    make_fat(tmp_path / "fat", mebibytes(16), "ESP", {"EFI/BOOT/BOOTX64.EFI": source, "top": source})
    read = ["mtype", "-i", str(tmp_path / "fat"), "::EFI/BOOT/BOOTX64.EFI"]
    assert subprocess.run(read, capture_output=True, check=True).stdout == b"boot me"


def test_bytes_are_written_in_the_middle_and_nowhere_else(tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(b"0123456789")
    write_at(disk, 4, b"ab")
    assert disk.read_bytes() == b"0123ab6789"
