from pathlib import Path
from uuid import UUID, uuid4

import pytest

from cumulet.hypervisor import CephPool, HypervisorError, ceph_client
from cumulet.hypervisor.libvirt import facts
from cumulet.hypervisor.libvirt.facts import read_room
from cumulet.hypervisor.libvirt.places import FilePlace
from cumulet.hypervisor.libvirt.pools import DiskPool, place_pools


@pytest.fixture
def mounts(tmp_path):
    return {"local": None, "fast": tmp_path / "fast", "slow": tmp_path / "slow"}


@pytest.fixture
def devices(tmp_path, mounts, monkeypatch):
    """The file system that each directory is in; all are mounted."""
    found = {Path("/"): 0, tmp_path: 1, mounts["fast"]: 2, mounts["slow"]: 3}
    for directory in (tmp_path / "disks", *found):
        directory.mkdir(exist_ok=True)
    monkeypatch.setattr("cumulet.hypervisor.mounts.device_of", lambda path: path.stat() and found[path])
    return found


@pytest.fixture
def placed(tmp_path, mounts, devices):
    return place_pools(mounts, root=tmp_path, name="cumulet-1a2b3c4d")


def a_disk(pool: DiskPool) -> UUID:
    pool.disk(id := uuid4()).touch()
    return id


def test_a_pool_without_a_path_lies_where_disks_have_always_been(tmp_path, placed):
    local, fast, slow = placed.usable()
    assert (local.directory, local.name) == (tmp_path / "disks", "cumulet-1a2b3c4d")
    assert (fast.directory, fast.name) == (tmp_path / "fast/cumulet-1a2b3c4d", "cumulet-1a2b3c4d-fast")
    assert slow.directory.is_dir()


def test_a_disk_is_found_in_whichever_pool_it_lies(placed):
    for pool in placed.usable():
        assert placed.find_disk(disk := a_disk(pool)) == FilePlace(pool.directory / f"{disk}.qcow2")
    with pytest.raises(HypervisorError, match=str(nobody := uuid4())):
        placed.find_disk(nobody)


@pytest.mark.parametrize("how", ["gone", "beside the data", "on the root disk"])
def test_nothing_is_made_below_a_path_where_nothing_is_mounted(placed, mounts, devices, how):
    fast = placed.find("fast")
    fast.directory.rmdir()
    devices[mounts["fast"]] = 0 if how == "on the root disk" else 1
    if how == "gone":
        mounts["fast"].rmdir()
    with pytest.raises(HypervisorError, match=f"disk pool 'fast': nothing is mounted at {mounts['fast']} "):
        placed.find("fast")
    assert not fast.directory.exists()
    assert [pool.id for pool in placed.usable()] == ["local", "slow"]


def test_a_disk_below_a_path_where_nothing_is_mounted_is_not_there(placed, mounts, devices):
    disk = a_disk(placed.find("fast"))
    devices[mounts["fast"]] = devices[placed.root]
    assert placed.find_with(disk) is None
    devices[mounts["fast"]] = 4
    assert placed.find_with(disk) == placed.find("fast")


def test_a_file_system_that_two_pools_share_counts_once(placed, mounts, devices, monkeypatch):
    devices[mounts["slow"]] = devices[mounts["fast"]]
    monkeypatch.setattr(facts, "read_disk_gib", lambda _: 7)
    assert read_room(placed) == {"local": 7, "fast": 7, "slow": 0}
    with pytest.raises(HypervisorError, match=r"disk pool 'slow': .*file system of disk pool 'fast'"):
        placed.find("slow")


def test_what_disks_take_is_counted_for_the_pool_they_lie_in(placed, monkeypatch):
    seen: list[Path] = []
    monkeypatch.setattr(facts, "read_disk_gib", lambda directory: len(seen.append(directory) or seen))
    assert read_room(placed) == {"local": 1, "fast": 2, "slow": 3}
    assert seen == [pool.directory for pool in placed.every]


def test_a_path_that_cannot_be_written_to_is_told_of(placed, mounts, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(HypervisorError, match=f"disk pool 'fast': cannot make {mounts['fast']}.*Read-only"):
        placed.find("fast")


@pytest.fixture
def two_hosts(tmp_path, mounts, devices):
    """Two hosts that have `fast` together and `local` each for itself."""

    def place(number: int):
        root = tmp_path / f"host-{number}"
        root.mkdir()
        devices[root] = 10 + number
        return place_pools(mounts, root=root, name="cumulet-1a2b3c4d", shared=frozenset({"fast"}))

    return place(1), place(2)


def test_hosts_that_have_a_directory_together_find_one_identity_in_it(two_hosts):
    one, other = two_hosts
    assert one.identities() == other.identities()
    assert len(one.identities()["fast"]) == 32
    disk = a_disk(one.find("fast"))
    assert other.find_with(disk) == other.find("fast")


def test_a_directory_that_is_mounted_in_its_place_is_another_one(two_hosts, mounts):
    one, other = two_hosts
    known = one.identities()["fast"]
    (mounts["fast"] / "cumulet-1a2b3c4d").rename(mounts["fast"] / "was")
    assert other.identities()["fast"] not in ("", known)


def test_while_nothing_is_mounted_there_is_no_identity_and_nothing_is_written(two_hosts, mounts, devices):
    one, _ = two_hosts
    devices[mounts["fast"]] = 0
    assert one.identities() == {"fast": ""}
    assert not [*mounts["fast"].iterdir()]


def test_a_disk_is_known_by_the_name_of_its_place(tmp_path):
    pools = place_pools({"local": None}, root=tmp_path, name="cumulet-1", ceph={"net": CephPool("vms", "me")})
    id = uuid4()
    for name in (f"{tmp_path}/disks/{id}.qcow2", f"vms/cumulet-1-{id}"):
        assert pools.disk_at(name) == id
    for strange in (
        f"{tmp_path}/{id}.qcow2",
        f"other/cumulet-1-{id}",
        f"vms/cumulet-12-{id}",
        "vms/cumulet-1-terms",
        "",
    ):
        assert pools.disk_at(strange) is None


def test_without_what_leads_to_ceph_a_pool_there_has_no_room_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(ceph_client, "CONF", tmp_path / "ceph.conf")
    pools = place_pools({"local": None}, root=tmp_path, name="cumulet-1", ceph={"net": CephPool("vms", "me")})
    (tmp_path / "disks").mkdir()
    assert read_room(pools)["local"] > 0
    assert (read_room(pools)["net"], pools.identities()) == (0, {"net": ""})
    assert pools.ceph[0].problem() == f"disk pool 'net': {tmp_path}/ceph.conf is not there"
    with pytest.raises(HypervisorError, match=str(nobody := uuid4())):
        pools.find_disk(nobody)
