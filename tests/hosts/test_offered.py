"""A catalogue that was edited under disks that lie in its pools."""

from dataclasses import replace
from importlib.resources import files

import pytest
from tests.made_up import make_cloud, two_pools

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.disks import operations as disk_verbs
from cumulet.errors import Invalid
from cumulet.hosts import check_pools_still_offered
from cumulet.serve import build
from cumulet.settings import read_settings


@pytest.fixture
def cloud(database, tmp_path):
    return make_cloud(database, tmp_path, catalogue=two_pools(read_catalogue(None)))


def check(cloud, catalogue):
    with cloud.database.reading() as db:
        check_pools_still_offered(db, catalogue)


def test_a_pool_in_which_disks_lie_must_stay(cloud):
    for id in ("one", "other"):
        cloud.create_disk(id, storage_class=StorageClass.LOCAL)
    with pytest.raises(Invalid) as refused:
        check(cloud, read_catalogue(None))
    assert refused.value.message == (
        "catalogue: disk_pools of 'local': ['local'] is not accepted; "
        "expected 'fast' among them, because 2 disks or images are in it"
    )
    check(cloud, cloud.catalogue)
    for id in ("one", "other"):
        cloud.ask(disk_verbs.delete_storage_disk, id)
    cloud.settle()
    check(cloud, read_catalogue(None))


def test_a_data_center_with_disks_must_stay(cloud):
    cloud.create_disk()
    (local,) = cloud.catalogue.data_centers
    with pytest.raises(Invalid, match=r"disk_pools of 'local': \[\] .* expected 'local' among them"):
        check(cloud, replace(cloud.catalogue, data_centers=(replace(local, id="berlin"),)))


def test_a_server_does_not_start_without_a_pool_in_which_disks_lie(cloud, tmp_path, monkeypatch):
    cloud.create_disk(storage_class=StorageClass.LOCAL)
    monkeypatch.setattr(build, "Database", lambda _: cloud.database)
    offered = (files("cumulet.catalogue") / "default.toml").read_text()
    (tmp_path / "mine.toml").write_text(offered)
    settings = {
        "CUMULET_DATA_DIR": str(tmp_path),
        "CUMULET_HYPERVISOR": "memory:",
        "CUMULET_CATALOGUE": str(tmp_path / "mine.toml"),
    }
    with pytest.raises(Invalid, match="'fast' among them, because 1 disks or images"):
        build.build(read_settings(settings))
