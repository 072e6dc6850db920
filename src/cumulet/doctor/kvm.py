"""Does KVM work here? Found out by running a guest for a moment, not by looking for /dev/kvm.

There are machines, cloud VMs with half of nested virtualisation among them, where /dev/kvm opens and guests then hang
for ever, or have each instruction emulated by the kernel, so that a few instructions pass and a boot takes hours. So
the guest is a few bytes of our own: it enters protected mode, counts to 67 million, which takes a processor some 30 ms,
and leaves through QEMU's debug port.

How long is too long nobody can say in seconds: on a busy machine, or one that is itself emulated, QEMU alone takes
several to start. So a guest that is not out soon races one that is emulated: who is not out by then is of no use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from cumulet.hypervisor.mortal import dies_with_us

DEVICE: Final = Path("/dev/kvm")
REMEMBERED: Final = "kvm.json"
QEMU: Final = "qemu-system-x86_64"
FIRMWARE_BYTES: Final = 0x10000
FIRMWARE_BASE: Final = 0xF0000
START: Final = 0x100
TABLE: Final = 0x200
RESET_VECTOR: Final = FIRMWARE_BYTES - 16
REAL_MODE: Final = bytes.fromhex(
    "fa"  # cli
    "2e660f01160002"  # lgdt cs:[TABLE]
    "0f20c0 0c01 0f22c0"  # cr0 |= 1: protected mode
    "66ea18010f000800"  # jmp 8:FIRMWARE_BASE + START + len(REAL_MODE)
)
PROTECTED_MODE: Final = bytes.fromhex(
    "b900000004"  # mov ecx, 1 << 26
    "49 75fd"  # until ecx == 0: ecx -= 1
    "66baf400 b02a ee"  # out 0xf4, 0x2a: leave
    "f4"  # hlt
)
DESCRIPTORS: Final = bytes.fromhex(
    "0f00 08020f00 0000"  # the table's limit and address
    "0000000000000000"
    "ffff0000009acf00"  # 8: code, all of memory
)
LEFT: Final = 0x2A << 1 | 1
"""QEMU's exit code when the guest wrote 0x2a to its debug port."""
SOON_SECONDS: Final = 2.5
"""A guest that is out by then needs no other one beside it."""
LONGEST_SECONDS: Final = 60.0
"""For the race, where the emulated guest does not get out either."""
LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class KvmVerdict:
    """Whether guests run under KVM, and if not, why."""

    works: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A verdict and what it holds for."""

    key: str
    verdict: KvmVerdict


def kvm_works(*, remember_in: Path | None = None) -> KvmVerdict:
    """Run a guest for a moment under KVM; `remember_in`, a directory, keeps the verdict. Takes 0.2 s, some 4 s where KVM hangs."""
    if not DEVICE.exists():
        return KvmVerdict(works=False, reason=f"there is no {DEVICE}")
    verdict = run_guest("kvm")
    if remember_in is not None:
        remember_in.mkdir(parents=True, exist_ok=True)
        (remember_in / REMEMBERED).write_bytes(msgspec.json.encode(Remembered(describe_machine(), verdict)))
    return verdict


def kvm_worked(remembered_in: Path) -> KvmVerdict | None:
    """The verdict remembered for this boot, kernel and QEMU; None when there is none, or nothing left to judge."""
    with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
        known = msgspec.json.decode((remembered_in / REMEMBERED).read_bytes(), type=Remembered)
        if known.key == describe_machine() and DEVICE.exists():
            return known.verdict
    return None


def describe_machine() -> str:
    """What a verdict depends on: this boot, its kernel, and the QEMU that is installed."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    qemu = shutil.which(QEMU)
    return f"{boot} {os.uname().release} {Path(qemu).stat().st_mtime_ns if qemu else 'no QEMU'}"


def run_guest(accelerator: str, soon: float = SOON_SECONDS) -> KvmVerdict:
    """Run the guest that leaves at once, and beside it an emulated one if it is not out within `soon` seconds."""
    began = time.monotonic()
    with started_guest(accelerator) as guest:
        if not guest.is_out_within(soon):
            with started_guest("tcg") as emulated:
                race(guest, emulated)
        code, words = guest.process.poll(), guest.said()
    if code == LEFT:
        return KvmVerdict(works=True)
    if code is None:
        tried = f"tried for {time.monotonic() - began:.1f} s"
        return KvmVerdict(works=False, reason=f"/dev/kvm opens, but a guest does not run ({tried})")
    return KvmVerdict(works=False, reason=words or f"QEMU ended with code {code}")


def race(guest: Guest, emulated: Guest) -> None:
    """Return when the guest has ended, or is beaten by the emulated one."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while emulated.process.poll() != LEFT and time.monotonic() < deadline:
        if guest.is_out_within(LOOK_SECONDS):
            return


@dataclass(frozen=True, slots=True)
class Guest:
    """A QEMU that runs the probe."""

    process: subprocess.Popen[bytes]
    words: IO[str]

    def is_out_within(self, seconds: float) -> bool:
        """Wait that long for its end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def said(self) -> str:
        """What QEMU has printed."""
        self.words.seek(0)
        return self.words.read().strip()


@contextmanager
def started_guest(accelerator: str) -> Iterator[Guest]:
    """Start the probe under `kvm` or `tcg`. At the end it is killed, but never waited for; so it is when we are.

    A process that hangs inside KVM's ioctl may ignore even SIGKILL: who waits for it hangs too.
    """
    with tempfile.NamedTemporaryFile(suffix=".bin") as firmware, tempfile.TemporaryFile("w+") as words:
        firmware.write(probe_firmware())
        firmware.flush()
        argv = dies_with_us(
            QEMU, "-accel", accelerator, "-machine", "pc", "-m", "16", "-nodefaults", "-display", "none",
            "-bios", firmware.name, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
        )  # fmt: skip
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=words, stderr=words)
        guest = Guest(process, words)
        try:
            yield guest
        finally:
            process.kill()
            guest.is_out_within(0.5)


def probe_firmware() -> bytes:
    """A BIOS image that does nothing but count and leave."""
    image = bytearray(FIRMWARE_BYTES)
    for offset, content in (
        (START, REAL_MODE + PROTECTED_MODE),
        (TABLE, DESCRIPTORS),
        (RESET_VECTOR, bytes.fromhex("ea000100f0")),  # jmp f000:START
    ):
        image[offset : offset + len(content)] = content
    return bytes(image)
