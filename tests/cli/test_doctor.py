"""What the doctor looks at because the catalogue says so."""

from importlib.resources import files

import pytest

from cumulet.cli.doctor import examine_pools
from cumulet.doctor.findings import Level
from cumulet.settings import read_settings

FAST = """
[[data_centers.disk_pools]]
id = "fast"
storage_classes = []
path = "{path}"
disk_gib_price_hr = 1
snapshot_gib_price_hr = 1

[[machine_types]]"""


@pytest.fixture
def examined(tmp_path):
    """What is found with a catalogue that has one pool more."""

    def look(path):
        offered = (files("cumulet.catalogue") / "default.toml").read_text()
        catalogue = tmp_path / "catalogue.toml"
        catalogue.write_text(offered.replace("\n[[machine_types]]", FAST.format(path=path), 1))
        return examine_pools(
            read_settings({"CUMULET_DATA_DIR": str(tmp_path), "CUMULET_CATALOGUE": str(catalogue)})
        )

    return look


def test_each_pool_that_is_to_be_mounted_is_looked_at(examined, tmp_path):
    (finding,) = examined(tmp_path / "fast")
    assert (finding.name, finding.level) == ("disk pool fast", Level.DEGRADED)


def test_the_pool_with_cumulets_own_data_is_measured_as_the_disk_it_lies_on(tmp_path):
    assert examine_pools(read_settings({"CUMULET_DATA_DIR": str(tmp_path)})) == []


def test_a_catalogue_with_a_mistake_is_a_finding(examined):
    (finding,) = examined("no/path")
    assert (finding.name, finding.level) == ("catalogue", Level.BROKEN)
    assert "disk_pools[1].path: 'no/path' is not accepted" in finding.text
