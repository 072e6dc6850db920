"""Disks written as plain files: a partition table, file systems laid at their offsets, and qcow2 around it.

No loop device and no mount, so that it works in a container too: `mke2fs -d` fills an ext4 inside a file at an
offset, mtools fill a FAT, sfdisk writes the table into the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cumulet.images.recipes.recipe import MIB, run

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Partition:
    """A range of the disk, in bytes; `type` as sfdisk writes it (two hex digits on an MBR, a GUID on a GPT)."""

    number: int
    start: int
    size: int
    type: str
    name: str = ""
    bootable: bool = False

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.size


def partition_table(label: str, partitions: tuple[Partition, ...]) -> str:
    """Write the script for sfdisk; `label` is `dos` or `gpt`."""
    lines = [f"label: {label}"]
    for part in partitions:
        fields = [f"start={part.start // SECTOR}", f"size={part.size // SECTOR}", f"type={part.type}"]
        fields += [f'name="{part.name}"'] * bool(part.name) + ["bootable"] * part.bootable
        lines.append(f"{part.number} : {', '.join(fields)}")
    return "\n".join(lines) + "\n"


def make_raw_disk(path: Path, size: int, label: str, partitions: tuple[Partition, ...]) -> None:
    """Make a sparse file of `size` bytes that holds a partition table and nothing else."""
    with path.open("wb") as disk:
        disk.truncate(size)
    run("sfdisk", "--quiet", path, stdin=partition_table(label, partitions).encode())


def write_at(disk: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes in the middle of a disk."""
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def fill_ext4(disk: Path, part: Partition, tree: Path, *, label: str, reserved_percent: int = 0) -> None:
    """Lay an ext4 with the content of the folder `tree` into a partition.

    Left out are the features that GRUB 2.06 cannot read and newer mke2fs versions turn on by themselves.
    """
    extended = f"offset={part.start},lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"
    run(
        "mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-m", str(reserved_percent),
        "-O", "^metadata_csum_seed,^orphan_file", "-E", extended, "-d", tree, disk, f"{part.size // 1024}k",
    )  # fmt: skip


def make_fat(path: Path, size: int, label: str, files: Mapping[str, Path]) -> None:
    """Make a file that is a FAT16 of `size` bytes; `files` maps the path in it to the file that goes there."""
    with path.open("wb") as fat:
        fat.truncate(size)
    run("mkfs.vfat", "-F", "16", "-n", label, path)
    folders = sorted({str(parent) for name in files for parent in Path(name).parents if str(parent) != "."})
    for folder in folders:
        run("mmd", "-i", path, f"::{folder}")
    for name, source in files.items():
        run("mcopy", "-i", path, source, f"::{name}")


def pack_qcow2(raw: Path, into: Path) -> None:
    """Compress a raw disk with zstd, which boots as quickly as it was packed."""
    run(
        "qemu-img",
        "convert",
        "-q",
        "-m",
        "4",
        "-W",
        "-c",
        "-O",
        "qcow2",
        "-o",
        "compression_type=zstd",
        raw,
        into,
    )


def mebibytes(count: int) -> int:
    """Return that many MiB in bytes."""
    return count * MIB
