"""A guest whose image only a UEFI can start: found at its import, started, and gone with all that its firmware kept."""

import subprocess
from pathlib import Path

import pytest
from tests.e2e.real_cloud import RealCloud
from tests.e2e.traces import NVRAM, Parts, traces
from tests.waiting import eventually

from cumulet.hypervisor import Firmware
from cumulet.images import ImageStore
from cumulet.images.fetch import import_image
from cumulet.images.recipes import debian, micro
from cumulet.images.recipes.disk import Partition, make_fat, make_raw_disk, mebibytes, write_at
from cumulet.images.recipes.recipe import GIB

pytestmark = pytest.mark.lab

ESP = Partition(1, mebibytes(1), mebibytes(40), debian.ESP.type)
SIZE = 2 * GIB
ROOT = Partition(2, ESP.end, SIZE - ESP.end - (32 << 10), "0FC63DAF-8483-4772-8E79-3D69D8477DE4")
"""To the end of the disk: micro lets none grow but on an MBR."""
GRUB = f"linux /vmlinuz {micro.KERNEL_ARGUMENTS}\ninitrd /initrd\nboot\n"
IMAGES = "/v1/projects/default/images"


def cut_out(disk: Path, part: Partition, into: Path) -> Path:
    """Copy a partition out of a qcow2."""
    size = (
        f"bs={mebibytes(1)}",
        f"skip={part.start >> 20}",
        f"count={part.end >> 20}",
    )  # it counts what it skips
    subprocess.run(
        ("qemu-img", "dd", "-f", "qcow2", "-O", "raw", *size, f"if={disk}", f"of={into}"), check=True
    )
    return into


def taken_from(fat: Path, name: str, into: Path) -> Path:
    """Copy a file out of a FAT."""
    subprocess.run(("mcopy", "-n", "-i", fat, f"::{name}", into), check=True)
    return into


@pytest.fixture(scope="module")
def image(cloud: RealCloud, tmp_path_factory):
    """The micro image, laid out anew: a GPT, no code for a BIOS, and in its ESP the boot loader of our Debian."""
    store, folder = ImageStore(cloud.data_dir / "images"), tmp_path_factory.mktemp("uefi")
    esp = cut_out(store.find("debian-12").path, debian.ESP, folder / "esp")
    boot = cut_out(store.find("micro").path, micro.BOOT, folder / "boot")
    root = cut_out(store.find("micro").path, micro.ROOT, folder / "root")
    (folder / "grub.cfg").write_text(GRUB)
    files = {
        "EFI/BOOT/BOOTX64.EFI": taken_from(esp, "EFI/BOOT/BOOTX64.EFI", folder / "grub"),
        "vmlinuz": taken_from(boot, "vmlinuz", folder / "vmlinuz"),
        "initrd": taken_from(boot, "initrd", folder / "initrd"),
        "boot/grub/grub.cfg": folder / "grub.cfg",
    }
    make_fat(folder / "fat", ESP.size, debian.ROOT_LABEL, files)  # by that label it finds its configuration
    disk = folder / "disk"
    make_raw_disk(disk, SIZE, "gpt", (ESP, ROOT))
    write_at(disk, ESP.start, (folder / "fat").read_bytes())
    place = (f"bs={mebibytes(1)}", f"seek={ROOT.start >> 20}", "conv=notrunc,sparse")
    subprocess.run(("dd", f"if={root}", f"of={disk}", *place), check=True)
    made = import_image(store, "micro-uefi", str(disk), progress=lambda *_: None)
    yield made
    store.remove(made.id)


def test_it_is_started_by_a_uefi_and_so_is_who_is_made_of_an_image_of_it(cloud, image):
    assert image.firmware is Firmware.UEFI
    vm = cloud.create("uefi", image=image.id).wait_for_ssh(within=300)
    assert "fw_platform_size" in vm.output_of("ls /sys/firmware/efi")
    cloud.ask("POST", IMAGES, params={"vmId": vm.name, "id": "of-uefi"})
    eventually(lambda: cloud.ask("GET", f"{IMAGES}/of-uefi")["image"]["state"] == "READY")
    clone = cloud.create("uefi-too", image="of-uefi").wait_for_ssh(within=300)
    assert "fw_platform_size" in clone.output_of("ls /sys/firmware/efi")
    for each in (vm, clone):
        parts = Parts.of(each)
        assert list(NVRAM.glob(f"*{parts.vm}*"))
        each.verb("terminate")
        eventually(each.gone)
        eventually(lambda parts=parts: traces(cloud, parts) == [])
    cloud.ask("DELETE", f"{IMAGES}/of-uefi")
