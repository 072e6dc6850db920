"""Images and disks for tests."""

import subprocess
from pathlib import Path

from cumulet.images import Image
from cumulet.images.recipes.disk import Partition, make_raw_disk, write_at

RAW_SIZE = 2 << 20
BOOT_CODE = b"\xeb\xfe"
"""A jump to itself."""
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"


def an_image(id: str = "tiny", *, sha256: str = "aa", aliases: tuple[str, ...] = ()) -> Image:
    return Image(
        id=id,
        name=id,
        display_name=id.title(),
        description="",
        size_gib=1,
        format="qcow2",
        sha256=sha256,
        origin="a test",
        aliases=aliases,
    )


def a_file(path: Path, content: bytes = b"a disk") -> Path:
    path.write_bytes(content)
    return path


def a_raw_disk(path: Path) -> Path:
    """Write a disk that begins as one that boots: the rest is zeros and a mark at its end."""
    start = BOOT_CODE.ljust(510, b"\0") + b"\x55\xaa"
    return a_file(path, start + bytes(RAW_SIZE - len(start) - 4) + b"last")


def a_partitioned_disk(path: Path, label: str = "gpt", type: str = ESP_TYPE, *, code: bytes = b"") -> Path:
    """Write a raw disk with one partition."""
    make_raw_disk(path, RAW_SIZE * 2, label, (Partition(1, 1 << 20, 1 << 20, type),))
    write_at(path, 0, code)
    return path


def an_empty_qcow2(path: Path, *options: str, size: str = "10M") -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), size], check=True)
    return path


def a_qcow2(path: Path) -> Path:
    """Write one that begins as a disk that boots."""
    raw = a_raw_disk(path.with_suffix(".raw"))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, path], check=True)
    return path
