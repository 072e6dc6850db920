"""The kernel and the initrd that a nested machine boots, of Debian's packages, kept between runs."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from cumulet.images.recipes.archive import open_archive
from cumulet.images.recipes.initrd import Cpio, modules_in_order
from cumulet.images.recipes.micro import modules_folder
from cumulet.images.recipes.recipe import run

KERNEL: Final = "linux-image-amd64"
"""The one for clouds has no 9p."""
MODULES: Final = (
    "virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay", "vfio_pci", "vfio_iommu_type1",
)  # fmt: skip
INIT: Final = Path(__file__).with_name("init")
KEPT: Final = Path("/var/cache/cumulet-test/nested")
"""On disk, and shown to the machine as all else is."""


@dataclass(frozen=True, slots=True)
class BootFiles:
    """What a nested machine boots."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def modules(self) -> Path:
        """All of the kernel's, by its version."""
        return self.folder / "modules"

    @property
    def busybox(self) -> Path:
        return self.folder / "busybox"

    def make_initrd(self, path: Path) -> None:
        """Write the initrd: it is made in no time, so that `init` is never an old one."""
        archive = Cpio()
        for folder in ("dev", "proc", "sys"):
            archive.add_folder(folder)
        archive.add_character_device("dev/console", 5, 1)
        archive.add_file("init", INIT.read_bytes(), mode=0o755)
        archive.add_file("bin/busybox", self.busybox.read_bytes(), mode=0o755)
        (modules,) = self.modules.iterdir()
        for position, file in enumerate(modules_in_order(modules, MODULES)):
            archive.add_file(f"modules/{position:02}-{Path(file).name}", (modules / file).read_bytes())
        path.write_bytes(archive.finished())


def fetch(into: Path) -> None:
    """Fetch the packages and keep what is booted of them."""
    with tempfile.TemporaryDirectory(prefix="cumulet-nested-", dir="/var/tmp") as folder:
        work = Path(folder)
        archive = open_archive(work / "apt")
        packages = work / "packages"
        archive.unpack((archive.dependency(KERNEL, "linux-image-"), "busybox-static"), packages)
        run("depmod", "-b", packages, modules_folder(packages).name)
        ready = work / "ready"
        ready.mkdir()
        (kernel,) = (packages / "boot").glob("vmlinuz-*")
        shutil.move(kernel, ready / "vmlinuz")
        shutil.move(modules_folder(packages).parent, ready / "modules")
        shutil.move(packages / "bin/busybox", ready / "busybox")
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(ready, into)


def kept_files() -> BootFiles:
    """Give what was fetched before: a private host has no way to Debian's archive."""
    if not BootFiles(KEPT).kernel.exists():
        pytest.fail("fetch the nested machine's kernel first: python -m tests.nested.boot_files")
    return BootFiles(KEPT)


if __name__ == "__main__" and not BootFiles(KEPT).kernel.exists():
    fetch(KEPT)
