"""What decides whether a Debian of ours boots."""

from cumulet.images.recipes.debian import BOOT_MODULES, FOLDER


def test_the_initrd_of_whichever_kernel_finds_the_disk_and_the_root_on_it():
    entries = (line.split() for line in (FOLDER / "rootfs/etc/fstab").read_text().splitlines())
    types = {place: type for _, place, type, *_ in entries}
    assert {"virtio_blk", types["/"]} <= {*BOOT_MODULES.split()}
