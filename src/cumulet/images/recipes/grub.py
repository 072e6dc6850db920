"""GRUB laid into a disk by hand, for BIOS and for UEFI, because grub-install wants devices and mounts.

A BIOS starts `boot.img` from the first sector, which loads `core.img` from the partition kept for it; a UEFI starts
the same GRUB as BOOTX64.EFI. Both then read /boot/grub/grub.cfg of the root file system, as any Debian would.
"""

from __future__ import annotations

import struct
from pathlib import Path

from cumulet.images.recipes.archive import run_unpacked
from cumulet.images.recipes.disk import SECTOR

PACKAGES = (
    "grub-common", "grub-efi-amd64-bin", "grub-pc-bin",
    "libc6", "libdevmapper1.02.1", "liblzma5", "libpcre2-8-0", "libselinux1", "libudev1",
)  # fmt: skip
"""GRUB's images and its `grub-mkimage` with the libraries that this loads."""

MODULES = ("part_gpt", "ext2", "fat", "search", "search_label", "linux", "normal", "configfile", "boot")

# Offsets in GRUB's images, as its own installer (util/setup.c) patches them.
BOOT_CODE_SIZE = 440
KERNEL_SECTOR = 0x5C
DRIVE_CHECK = 0x66
FIRST_BLOCKLIST = SECTOR - 12
LOAD_SEGMENT = 0x820
NOP = b"\x90"


def make_grub(unpacked: Path, platform: str, into: Path, *, root_label: str) -> None:
    """Make GRUB's image for `i386-pc` or `x86_64-efi`, which looks for its configuration by the root's label."""
    early = into.with_suffix(".cfg")
    early.write_text(f"search.fs_label {root_label} root\nconfigfile ($root)/boot/grub/grub.cfg\n")
    of_platform = ("biosdisk",) if platform == "i386-pc" else ("efi_gop",)
    run_unpacked(
        unpacked, "usr/bin/grub-mkimage", "-d", unpacked / "usr/lib/grub" / platform, "-O", platform,
        "-p", "/boot/grub", "-c", early, "-o", into, *MODULES, *of_platform,
    )  # fmt: skip


def patched_for_bios(boot: bytes, core: bytes, *, core_start: int) -> tuple[bytes, bytes]:
    """Tell `boot.img` where the core lies (a byte offset on the disk), and the core's first sector where its rest is.

    The check of the boot drive is patched out, as the installer does for hard disks. What is returned first is the
    code alone: the partition table behind it stays the disk's.
    """
    patched_boot, patched_core = bytearray(boot), bytearray(core)
    first = core_start // SECTOR
    struct.pack_into("<Q", patched_boot, KERNEL_SECTOR, first)
    patched_boot[DRIVE_CHECK : DRIVE_CHECK + 2] = NOP * 2
    sectors = -(-len(core) // SECTOR)
    struct.pack_into("<QHH", patched_core, FIRST_BLOCKLIST, first + 1, sectors - 1, LOAD_SEGMENT)
    return bytes(patched_boot[:BOOT_CODE_SIZE]), bytes(patched_core)
