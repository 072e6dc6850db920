"""What a file from elsewhere is, told without trusting it: its format from its first bytes, the rest by qemu-img.

QEMU guesses formats from content, and a guest can write content: a raw disk that was made to look like a qcow2 with
`/etc/shadow` as its backing file is an old trick. So the format is decided here and then said to qemu-img, which runs
under limits of memory and time because parsers of foreign files have had their faults. Such a program also looks
whether the file is whole, and gives the disk's first bytes, in which stands what starts it.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from cumulet.errors import Invalid
from cumulet.hypervisor import Firmware
from cumulet.images.booting import LOOKED_AT, SIGNATURE, firmware_of

GIB: Final = 1 << 30
MIN_SIZE: Final = 1 << 20
MOST_GIB: Final = 1024
"""A disk claims any size in a few bytes, and every VM of the image needs a boot disk as large."""
LIMITS: Final = ("prlimit", f"--as={GIB}", "--cpu=30")
CORRUPT: Final = 2
LEAKS: Final = 3
"""How `qemu-img check` ends when an image lacks something, and when it only keeps room that it does not need."""

QCOW2: Final = b"QFI\xfb"
ISO_SIGNATURE: Final = slice(32769, 32774), b"CD001"
OTHERS: Final = {
    b"KDMV": "a VMDK disk; convert it: qemu-img convert -O qcow2",
    b"vhdxfile": "a VHDX disk; convert it: qemu-img convert -O qcow2",
    b"conectix": "a VHD disk; convert it: qemu-img convert -O qcow2",
    b"<<< ": "a VDI disk; convert it: qemu-img convert -O qcow2",
    b"\xfd7zXZ": "compressed with xz; unpack it first",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first",
    b"BZh": "compressed with bzip2; unpack it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"<": "a web page or XML",
}


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk image that can be booted from; `size` in bytes as a guest sees it."""

    format: str
    size: int
    firmware: Firmware


def inspect_disk(path: Path) -> Disk:
    """Tell what a disk image is.

    Raises Invalid: it is none, it needs other files or a key, its size is absurd, it is torn, or nothing can start it.
    """
    with path.open("rb") as file:
        format = told_format(file.read(ISO_SIGNATURE[0].stop))
    size = checked_size(qemu_facts(path, format))
    if format == "qcow2":
        check_whole(path)
    return Disk(format, size, firmware_of(first_bytes(path, format), size))


def told_format(start: bytes) -> str:
    """Tell `qcow2` or `raw` from the first 33 KiB; Invalid names what else it is."""
    if start.startswith(QCOW2):
        return "qcow2"
    for magic, what in OTHERS.items():
        if start.lstrip().startswith(magic) or start.startswith(magic):
            raise Invalid(f"the file is not a disk image but {what}")
    if has(start, ISO_SIGNATURE):
        raise Invalid("the file is not a disk image but an ISO 9660 disc, such as an installer")
    if not has(start, SIGNATURE):
        raise Invalid("the file is not a disk image: neither a qcow2 nor a raw disk that could boot")
    return "raw"


def has(start: bytes, signature: tuple[slice, bytes]) -> bool:
    """Whether these bytes are at that place."""
    place, expected = signature
    return start[place] == expected


def qemu_facts(path: Path, format: str) -> dict[str, Any]:
    """Ask qemu-img, within limits, to read the image's header."""
    facts: dict[str, Any] = msgspec.json.decode(
        qemu_img(path, "info", "--output=json", "-f", format, str(path))
    )
    return facts


def check_whole(path: Path) -> None:
    """Refuse a qcow2 that refers to what is not in it."""
    report = msgspec.json.decode(
        qemu_img(path, "check", "--output=json", "-f", "qcow2", str(path), fine=(0, CORRUPT, LEAKS))
    )
    if torn := report.get("corruptions", 0) + report.get("check-errors", 0):
        raise Invalid(f"the image is truncated or damaged: {torn} of its clusters are missing; copy it again")


def first_bytes(path: Path, format: str) -> bytes:
    """Read where the guest's disk begins."""
    with tempfile.NamedTemporaryFile() as start:
        size = (f"bs={LOOKED_AT}", "count=1")
        qemu_img(path, "dd", "-f", format, "-O", "raw", *size, f"if={path}", f"of={start.name}")
        return Path(start.name).read_bytes()


def qemu_img(path: Path, *words: str, fine: tuple[int, ...] = (0,)) -> bytes:
    """Run qemu-img within limits; Invalid with its reason when it does not end in a way that is fine."""
    done = subprocess.run([*LIMITS, "qemu-img", *words], capture_output=True, check=False)
    if done.returncode not in fine:
        reason = done.stderr.decode(errors="replace").strip().replace(str(path), "the file")
        raise Invalid(f"qemu-img cannot read the disk image: {reason or f'status {done.returncode}'}")
    return done.stdout


def checked_size(facts: dict[str, Any]) -> int:
    """Return the size that a guest sees; Invalid when it is absurd, or the image is not complete in itself."""
    data = facts.get("format-specific", {}).get("data", {})
    if "backing-filename" in facts:
        raise Invalid(
            f"the image only has the changes to another file, {facts['backing-filename']!r}; flatten it"
        )
    if "data-file" in data:
        raise Invalid(f"the image keeps its data in another file, {data['data-file']!r}; flatten it")
    if facts.get("encrypted") or "encrypt" in data:
        raise Invalid("the image is encrypted")
    if data.get("corrupt"):
        raise Invalid("the image is marked as corrupt; repair it: qemu-img check -r all")
    size = int(facts["virtual-size"])
    if not MIN_SIZE <= size <= MOST_GIB * GIB:
        accepted = f"from {MIN_SIZE} bytes to {MOST_GIB} GiB; shrink it: qemu-img resize --shrink"
        raise Invalid(
            f"the disk claims a size of {size} bytes, {size // GIB} GiB; accepted are disks {accepted}"
        )
    return size
