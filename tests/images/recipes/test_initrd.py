import pytest

from cumulet.images.recipes.initrd import Cpio, module_name, modules_in_order
from cumulet.images.recipes.recipe import BuildFailed


@pytest.fixture
def modules(tmp_path):
    folder = tmp_path / "6.1.0"
    folder.mkdir()
    (folder / "modules.dep").write_text(
        "kernel/virtio-net.ko: kernel/failover.ko.xz kernel/virtio.ko\n"
        "kernel/failover.ko.xz:\n"
        "kernel/virtio.ko: kernel/virtio_ring.ko\n"
        "kernel/virtio_ring.ko:\n"
    )
    (folder / "modules.builtin").write_text("kernel/fs/ext4.ko\n")
    return folder


def test_modules_come_after_what_they_need_and_once(modules):
    assert modules_in_order(modules, ("virtio_net", "virtio")) == [
        "kernel/failover.ko.xz",
        "kernel/virtio_ring.ko",
        "kernel/virtio.ko",
        "kernel/virtio-net.ko",
    ]


def test_what_is_built_in_is_not_loaded(modules):
    assert modules_in_order(modules, ("ext4",)) == []


def test_a_module_that_the_kernel_does_not_have_is_named(modules):
    with pytest.raises(BuildFailed, match="no module ahci"):
        modules_in_order(modules, ("ahci",))


@pytest.mark.parametrize("file", ["kernel/a/virtio-rng.ko", "virtio_rng.ko.xz", "virtio-rng.ko.zst"])
def test_a_module_is_known_by_one_name(file):
    assert module_name(file) == "virtio_rng"


def test_the_archive_lists_folders_before_their_files_and_each_once():
    archive = Cpio()
    archive.add_file("lib/modules/a.ko", b"a")
    archive.add_file("lib/modules/b.ko", b"bb", mode=0o755)
    archive.add_character_device("dev/console", 5, 1)
    assert names(archive.finished()) == [
        "lib",
        "lib/modules",
        "lib/modules/a.ko",
        "lib/modules/b.ko",
        "dev",
        "dev/console",
    ]


def names(archive):
    """Walk the headers as the kernel does."""
    found, at = [], 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        if name == "TRAILER!!!":
            return found
        found.append(name)
        at += -(-(110 + name_size) // 4) * 4 + -(-size // 4) * 4
