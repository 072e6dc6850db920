"""The recipe of `micro`: a Linux so small that it answers SSH a few seconds after it was asked for, even emulated.

Debian's cloud kernel, busybox, dropbear and the QEMU guest agent, with boot scripts of our own (`rootfs/`) that
read the same seed as cloud-init does. For a first look and for tests.

    0        1 MiB                21 MiB                                   1 GiB
    | MBR    | FAT: syslinux,     | ext4 `micro-root`: `rootfs/`, programs, |
    |        | kernel, initrd     | libraries, a dozen modules              |

The root partition is the last one, so that the initrd can let it grow.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from cumulet.images.recipes.archive import LIBRARY_FOLDERS, LOADER, libraries_of, open_archive, run_unpacked
from cumulet.images.recipes.disk import (
    Partition,
    fill_ext4,
    make_fat,
    make_raw_disk,
    mebibytes,
    pack_qcow2,
    write_at,
)
from cumulet.images.recipes.initrd import Cpio, modules_in_order
from cumulet.images.recipes.recipe import GIB, Package, Progress, Recipe, copy_rootfs, run

FOLDER = Path(__file__).parent
SIZE_GIB = 1
BOOT = Partition(1, mebibytes(1), mebibytes(20), "c", bootable=True)
ROOT = Partition(2, BOOT.end, SIZE_GIB * GIB - BOOT.end, "83")
KERNEL_ARGUMENTS = "console=tty0 console=ttyS0,115200 cryptomgr.notests quiet"

KERNEL = "linux-image-cloud-amd64"
PROGRAMS = ("busybox-static", "dropbear-bin", "e2fsprogs", "openssh-sftp-server", "qemu-guest-agent")
LIBRARIES = (
    "libblkid1", "libc6", "libcom-err2", "libcrypt1", "libext2fs2", "libglib2.0-0", "libgmp10", "libnuma1",
    "libpcre2-8-0", "libtomcrypt1", "libtommath1", "libudev1", "liburing2", "libuuid1", "zlib1g",
)  # fmt: skip
BOOT_LOADER = ("syslinux", "syslinux-common")

BOOT_MODULES = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod")
MODULES = (
    *BOOT_MODULES, "virtio_net", "virtio_console", "virtio_rng", "isofs", "vfat", "nls_ascii", "nls_cp437",
    "button", "evdev",
)  # fmt: skip
BINARIES = (
    "usr/sbin/dropbear", "usr/bin/dropbearkey", "usr/lib/openssh/sftp-server", "usr/sbin/qemu-ga", "sbin/resize2fs",
)  # fmt: skip
EMPTY_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "mnt", "root", "var/log", "var/lib", "etc/dropbear")


def write_disk(into: Path, progress: Progress) -> tuple[Package, ...]:
    """Fetch the packages, put the two file systems together and pack them as one disk."""
    with tempfile.TemporaryDirectory(prefix="cumulet-micro-", dir="/var/tmp") as folder:
        work = Path(folder)
        progress("reading Debian's package lists", 0.0)
        archive = open_archive(work / "apt")
        packages = work / "packages"
        progress("fetching packages", 0.3)
        kernel = archive.dependency(KERNEL, "linux-image-")
        installed = archive.unpack((kernel, *PROGRAMS), packages)
        archive.unpack((*LIBRARIES, *BOOT_LOADER), packages)
        index_modules(packages)
        progress("assembling the root file system", 0.7)
        make_root(packages, work / "root")
        progress("writing the disk", 0.8)
        raw = work / "disk.raw"
        make_raw_disk(raw, SIZE_GIB * GIB, "dos", (BOOT, ROOT))
        write_boot_partition(raw, packages, work)
        fill_ext4(raw, ROOT, work / "root", label="micro-root")
        progress("compressing", 0.9)
        pack_qcow2(raw, into)
        progress("done", 1.0)
    return installed


def make_root(packages: Path, root: Path) -> None:
    """Make the tree of the root file system: our own files, programs, the libraries they load, modules."""
    copy_rootfs(FOLDER / "rootfs", root)
    (root / "etc/shadow").chmod(0o600)
    for name in EMPTY_FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    install(packages / "bin/busybox", root / "bin/busybox")
    for binary in BINARIES:
        install(packages / binary, root / binary)
    for library in libraries_of(packages, BINARIES):
        install(library, root / LIBRARY_FOLDERS[0] / library.name)
    install(packages / LOADER, root / LOADER)
    link_applets(root)
    install_modules(packages, root)


def install(source: Path, target: Path) -> None:
    """Copy one executable or library, following links, for root alone to change."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)


def link_applets(root: Path) -> None:
    """Make a link for every program that busybox can be, except where the real one was installed."""
    for name in run(root / "bin/busybox", "--list-full").decode().split():
        link = root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to("/bin/busybox")
    (root / "usr/lib/sftp-server").symlink_to("openssh/sftp-server")  # where dropbear looks for it
    for program in ("shutdown", "qemu-ga"):
        (root / "sbin" / program).symlink_to(f"/usr/sbin/{program}")


def install_modules(packages: Path, root: Path) -> None:
    """Copy the wanted modules with an index of them, which busybox's modprobe reads."""
    modules = modules_folder(packages)
    target = root / "lib/modules" / modules.name
    files = modules_in_order(modules, MODULES)
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(modules / file, target / file)
    index = (modules / "modules.dep").read_text().splitlines(keepends=True)
    (target / "modules.dep").write_text("".join(line for line in index if line.partition(":")[0] in files))


def index_modules(packages: Path) -> None:
    """Write `modules.dep`, which the kernel package leaves to its installation."""
    run(packages / "bin/busybox", "depmod", "-b", packages, modules_folder(packages).name)


def modules_folder(packages: Path) -> Path:
    """Return the one `lib/modules/VERSION` of the unpacked kernel."""
    (folder,) = (packages / "lib/modules").iterdir()
    return folder


def make_initrd(packages: Path) -> bytes:
    """Pack busybox, the modules of the disk and the script that mounts the root."""
    archive = Cpio()
    for folder in ("dev", "proc", "sys", "root"):
        archive.add_folder(folder)
    archive.add_character_device("dev/console", 5, 1)
    archive.add_file("init", (FOLDER / "initrd/init").read_bytes(), mode=0o755)
    archive.add_file("bin/busybox", (packages / "bin/busybox").read_bytes(), mode=0o755)
    modules = modules_folder(packages)
    for position, file in enumerate(modules_in_order(modules, BOOT_MODULES)):
        archive.add_file(f"modules/{position:02}-{Path(file).name}", (modules / file).read_bytes())
    return run("zstd", "-q", "-19", "-c", stdin=archive.finished())


def write_boot_partition(raw: Path, packages: Path, work: Path) -> None:
    """Lay the FAT with syslinux, kernel and initrd into the disk, and syslinux's code into its MBR."""
    (work / "initrd").write_bytes(make_initrd(packages))
    (work / "syslinux.cfg").write_text(
        f"DEFAULT micro\nPROMPT 0\nTIMEOUT 0\nLABEL micro\n LINUX /vmlinuz\n INITRD /initrd\n APPEND {KERNEL_ARGUMENTS}\n"
    )
    (kernel,) = (packages / "boot").glob("vmlinuz-*")
    syslinux = packages / "usr/lib/syslinux"
    files = {
        "vmlinuz": kernel,
        "initrd": work / "initrd",
        "syslinux.cfg": work / "syslinux.cfg",
        "ldlinux.c32": syslinux / "modules/bios/ldlinux.c32",
    }
    make_fat(work / "boot.fat", BOOT.size, "MICROBOOT", files)
    run_unpacked(packages, "usr/bin/syslinux", "--install", work / "boot.fat")
    write_at(raw, BOOT.start, (work / "boot.fat").read_bytes())
    write_at(raw, 0, (syslinux / "mbr/mbr.bin").read_bytes()[:440])


MICRO = Recipe(
    id="micro",
    name="Micro Linux",
    display_name="Micro Linux (busybox)",
    description="A tiny Linux with SSH and the guest agent that boots in a moment: for a first look and for tests",
    size_gib=SIZE_GIB,
    folder=FOLDER,
    write_disk=write_disk,
    cloud_init=False,
)
