"""Images and disks for tests."""

import subprocess
from pathlib import Path

from cumulet.images import Image

RAW_SIZE = 2 << 20


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
    start = bytes(510) + b"\x55\xaa"
    return a_file(path, start + bytes(RAW_SIZE - len(start) - 4) + b"last")


def a_qcow2(path: Path, *options: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "10M"], check=True)
    return path
