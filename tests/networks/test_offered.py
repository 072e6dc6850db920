"""A catalogue that was edited under VMs that run: what is in use must still be in it."""

from dataclasses import replace
from importlib.resources import files
from ipaddress import IPv4Network

import pytest

from cumulet.errors import Invalid
from cumulet.networks import check_still_offered
from cumulet.serve import build
from cumulet.settings import read_settings


@pytest.fixture
def check(cloud):
    """Try a catalogue whose only data center is changed so."""

    def check(**changes):
        (data_center,) = cloud.catalogue.data_centers
        edited = replace(cloud.catalogue, data_centers=(replace(data_center, **changes),))
        with cloud.database.reading() as db:
            check_still_offered(db, edited)

    return check


def test_a_data_center_with_networks_must_stay(cloud, check):
    cloud.running()
    with pytest.raises(Invalid, match=r"data centers: \['berlin'\] .* expected 'local' among them"):
        check(id="berlin")


def test_an_external_range_must_hold_the_addresses_in_use(cloud, check):
    address = cloud.running().external_ip_address
    with pytest.raises(Invalid, match=r"external_range of 'local': '192.0.2.0/24' .* in it"):
        check(external_range=IPv4Network("192.0.2.0/24"))
    check(external_range=IPv4Network(f"{address}/17", strict=False))


def test_what_nobody_uses_may_change(check):
    check(id="berlin", external_range=IPv4Network("192.0.2.0/24"))


def test_a_server_does_not_start_on_what_its_vms_do_not_fit(cloud, tmp_path, monkeypatch):
    cloud.running()
    monkeypatch.setattr(build, "Database", lambda _: cloud.database)
    offered = (files("cumulet.catalogue") / "default.toml").read_text()
    (tmp_path / "edited.toml").write_text(offered.replace('"local"', '"berlin"'))
    settings = {
        "CUMULET_DATA_DIR": str(tmp_path),
        "CUMULET_HYPERVISOR": "memory:",
        "CUMULET_CATALOGUE": str(tmp_path / "edited.toml"),
    }
    with pytest.raises(Invalid, match="data centers"):
        build.build(read_settings(settings))
