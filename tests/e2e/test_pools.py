"""A second disk pool on a file system of its own, with real guests' disks in it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tests.e2e.real_cloud import RealCloud
from tests.e2e.test_disks import DISKS, device
from tests.waiting import eventually

pytestmark = pytest.mark.lab

FAST = """
[[data_centers.disk_pools]]
id = "fast"
storage_classes = ["LOCAL"]
path = "{path}"
disk_gib_price_hr = 1
snapshot_gib_price_hr = 1

[[machine_types]]"""
ROOM = "size=16500m,mode=711"
"""Not just so many GiB, which would be one less with the first block."""


@pytest.fixture
def fast(cloud: RealCloud) -> Iterator[Path]:
    """Where the second pool is mounted. It serves LOCAL, and as long as it is offered nobody serves NETWORK."""
    path = cloud.folder / "fast"
    path.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", ROOM, "fast", path), check=True)
    before = cloud.catalogue.read_text()
    without_classes = before.replace('["LOCAL", "NETWORK"]', "[]")
    cloud.offer(without_classes.replace("\n[[machine_types]]", FAST.format(path=path), 1))
    yield path
    cloud.offer(before)
    subprocess.run(("umount", path), check=True)


def ask_for_disk(cloud, id, gib, storage_class="LOCAL"):
    body = {
        "dataCenterId": "local",
        "id": id,
        "sizeGib": gib,
        "storageClass": f"STORAGE_CLASS_{storage_class}",
    }
    return cloud.api.post(DISKS, json=body)


def free_gib(cloud):
    """How much the pool has free, as a refusal tells."""
    refused = ask_for_disk(cloud, "huge", 60_000).json()["message"]
    return int(re.search(r"(\d+) GiB disk free in pool 'fast'", refused)[1])


def files_of(cloud, path):
    """The disks in the pool, by the names that their owner gave them."""
    files = {
        file: cloud.column("select name from disk where id = ?", UUID(file.stem).hex)
        for file in path.rglob("*.qcow2")
    }
    return {name: file for file, names in files.items() for name in names}


def test_disks_lie_and_count_in_the_pool_that_serves_their_class(cloud, fast):
    whole = free_gib(cloud)
    refused = ask_for_disk(cloud, "data", 1, "NETWORK")
    assert refused.status_code == 400
    assert refused.json()["message"].startswith("storageClass: 'STORAGE_CLASS_NETWORK' is not accepted")
    assert ask_for_disk(cloud, "data", 2).is_success
    eventually(lambda: cloud.ask("GET", f"{DISKS}/data")["disk"]["diskState"] == "DISK_STATE_READY")
    vm = cloud.create("quick", storageDiskIds=["data"]).wait_for_ssh()
    assert free_gib(cloud) == whole - 2 - vm.shown()["bootDiskSizeGib"]
    vm.output_of(f"echo written by a guest > /dev/{device(vm, 'data')}; sync")
    assert files_of(cloud, fast).keys() == {"data", "quick-boot"}
    eventually(lambda: b"written by a guest" in files_of(cloud, fast)["data"].read_bytes())
    vm.verb("terminate")
    eventually(vm.gone)
    cloud.ask("DELETE", f"{DISKS}/data")
    eventually(lambda: free_gib(cloud) == whole)
    assert [path for path in fast.rglob("*") if path.is_file()] == []
