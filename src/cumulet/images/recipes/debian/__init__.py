"""The recipe of `debian-12`: a plain Debian that clouds would recognise, trimmed so that it boots quickly.

Cloud kernel, systemd, cloud-init, sshd and the QEMU guest agent from Debian's packages; what we add or change is
`rootfs/`. It starts from BIOS and from UEFI and keeps doing so through kernel upgrades of its own.

    0      1 MiB          2 MiB      64 MiB                        2 GiB
    | GPT  | 14: GRUB for | 15: ESP: | 1: ext4 `debian-root`, last |
    |      | BIOS         | GRUB     | so that it can grow          |
"""

from __future__ import annotations

import subprocess
import tempfile
from collections import deque
from pathlib import Path

from cumulet.images.recipes import grub
from cumulet.images.recipes.archive import DESCRIPTION, SUITE, open_archive, read_packages, sources_list
from cumulet.images.recipes.disk import (
    Partition,
    fill_ext4,
    make_fat,
    make_raw_disk,
    mebibytes,
    pack_qcow2,
    write_at,
)
from cumulet.images.recipes.recipe import GIB, BuildFailed, Package, Progress, Recipe, copy_rootfs, run

FOLDER = Path(__file__).parent
SIZE_GIB = 2
BIOS_BOOT = Partition(14, mebibytes(1), mebibytes(1), "21686148-6449-6E6F-744E-656564454649")
ESP = Partition(15, mebibytes(2), mebibytes(62), "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
ROOT = Partition(
    1, ESP.end, SIZE_GIB * GIB - ESP.end - mebibytes(1), "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "root"
)
ROOT_LABEL = "debian-root"

PACKAGES = (
    "apt-utils", "bash-completion", "ca-certificates", "cloud-init", "curl", "dbus",
    "e2fsprogs", "fdisk", "gpg", "gpg-agent", "gpgv", "iproute2", "iputils-ping", "kmod", "less", "libpam-systemd",
    "linux-image-cloud-amd64", "netbase", "openssh-server", "procps", "qemu-guest-agent", "rsync", "sudo",
    "systemd-resolved", "systemd-sysv", "systemd-timesyncd", "udev", "vim-tiny",
)  # fmt: skip

LEFT_OUT = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
)

ENABLED_UNITS = ("systemd-networkd", "systemd-resolved")
MASKED_UNITS = (
    "apt-daily-upgrade.timer", "apt-daily.timer", "cloud-config.service", "dev-hugepages.mount", "dev-mqueue.mount", "dpkg-db-backup.timer",
    "e2scrub_all.timer", "e2scrub_reap.service", "modprobe@configfs.service", "modprobe@drm.service",
    "modprobe@efi_pstore.service", "modprobe@fuse.service", "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "systemd-binfmt.service", "systemd-networkd-wait-online.service",
    "systemd-pstore.service", "systemd-udev-settle.service", "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
)  # fmt: skip

PACKAGE_STEPS = 450
"""Some 225 packages are unpacked and set up; exact enough for a progress bar."""
BOOTSTRAP_SHARE = 0.85

BOOT_MODULES = "virtio_pci\nvirtio_blk\nvirtio_scsi\nsd_mod\next4\n"
"""What finds the disk and the root on it. The cloud kernel has ext4 built in; Debian's other one, which owners install, has not."""


def write_disk(into: Path, progress: Progress, packages: tuple[str, ...] = PACKAGES) -> tuple[Package, ...]:
    """Install Debian into a folder, add what is ours, and lay it into a disk that starts by itself."""
    with tempfile.TemporaryDirectory(prefix="cumulet-debian-", dir="/var/tmp") as folder:
        work = Path(folder)
        root = work / "root"
        progress("reading Debian's package lists", 0.0)
        install_debian(root, work, packages, progress)
        customize(root)
        progress("fetching the boot loader", BOOTSTRAP_SHARE)
        boot_loader = work / "boot-loader"
        open_archive(work / "apt").unpack(grub.PACKAGES, boot_loader)
        progress("writing the disk", 0.9)
        raw = work / "disk.raw"
        make_raw_disk(raw, SIZE_GIB * GIB, "gpt", (ROOT, BIOS_BOOT, ESP))
        fill_ext4(raw, ROOT, root, label=ROOT_LABEL, reserved_percent=1)
        write_boot_loader(raw, boot_loader, work)
        progress("compressing", 0.95)
        pack_qcow2(raw, into)
        installed = describe_packages(root, packages)
        progress("done", 1.0)
    return installed


def install_debian(root: Path, work: Path, packages: tuple[str, ...], progress: Progress) -> None:
    """Run mmdebstrap, which is most of the work, and tell its steps as they come."""
    sources = work / "debian.list"
    sources.write_text(sources_list())
    modules = work / "modules"
    modules.write_text(BOOT_MODULES)
    command = [
        "mmdebstrap", "--verbose", "--mode=root", "--variant=minbase", "--format=directory", "--architectures=amd64",
        f"--include={','.join(packages)}", "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        # Before the kernel comes: its initrd holds the modules of our disks only.
        '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"',
        '--essential-hook=echo MODULES=list > "$1/etc/initramfs-tools/conf.d/cumulet"',
        f"--essential-hook=upload {modules} /usr/share/initramfs-tools/modules.d/cumulet",
        SUITE, str(root), str(sources),
    ]  # fmt: skip
    bootstrap(command, progress)


def bootstrap(command: list[str], progress: Progress) -> None:
    """Run mmdebstrap and tell each package as it is unpacked and set up."""
    said: deque[str] = deque(maxlen=30)
    done = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            said.append(line)
            done += line.startswith(("Unpacking ", "Setting up "))
            if line.startswith(("I: ", "Unpacking ", "Setting up ")):
                step = line.removeprefix("I: ").partition(" (")[0].strip()
                progress(step.lower(), min(done / PACKAGE_STEPS, 1) * BOOTSTRAP_SHARE)
    if process.returncode != 0:
        raise BuildFailed(f"mmdebstrap ended with status {process.returncode}: {''.join(said).strip()}")


def customize(root: Path) -> None:
    """Add our files, choose the units that run, and take away what must be each machine's own."""
    copy_rootfs(FOLDER / "rootfs", root)
    run("chroot", root, "systemctl", "--quiet", "enable", *ENABLED_UNITS)
    for unit in MASKED_UNITS:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for identity in [*(root / "etc/ssh").glob("ssh_host_*"), root / "etc/hostname"]:
        identity.unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("")
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.symlink_to("../run/systemd/resolve/stub-resolv.conf")


def write_boot_loader(raw: Path, unpacked: Path, work: Path) -> None:
    """Put GRUB where a BIOS looks for it and where a UEFI does."""
    core, efi = work / "core.img", work / "bootx64.efi"
    grub.make_grub(unpacked, "i386-pc", core, root_label=ROOT_LABEL)
    grub.make_grub(unpacked, "x86_64-efi", efi, root_label=ROOT_LABEL)
    boot = (unpacked / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    boot_code, core_code = grub.patched_for_bios(boot, core.read_bytes(), core_start=BIOS_BOOT.start)
    write_at(raw, 0, boot_code)
    write_at(raw, BIOS_BOOT.start, core_code)
    make_fat(work / "esp.fat", ESP.size, "ESP", {"EFI/BOOT/BOOTX64.EFI": efi})
    write_at(raw, ESP.start, (work / "esp.fat").read_bytes())


def describe_packages(root: Path, packages: tuple[str, ...]) -> tuple[Package, ...]:
    """Return the packages that we asked for, with their versions."""
    database = f"--admindir={root / 'var/lib/dpkg'}"
    return read_packages(
        run("dpkg-query", database, "--show", f"--showformat={DESCRIPTION}", *packages).decode()
    )


DEBIAN_12 = Recipe(
    id="debian-12",
    name="Debian 12",
    display_name="Debian 12 (bookworm)",
    description="Debian 12 with the cloud kernel, cloud-init, an SSH server and the QEMU guest agent",
    size_gib=SIZE_GIB,
    folder=FOLDER,
    write_disk=write_disk,
)
