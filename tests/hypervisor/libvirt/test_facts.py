import os
import shutil
from types import SimpleNamespace

from cumulet.hypervisor.libvirt.facts import read_disk_gib

GIB = 1 << 30


def test_what_others_take_of_the_disk_is_not_the_hosts_to_give(tmp_path, monkeypatch):
    usage = SimpleNamespace(total=99 * GIB, free=3 * GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert read_disk_gib(tmp_path) == 3
    with (tmp_path / "a.qcow2").open("wb") as disk:
        os.posix_fallocate(disk.fileno(), 0, 2 * GIB)
    usage.free -= 2 * GIB
    assert read_disk_gib(tmp_path) == 3
