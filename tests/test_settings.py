from dataclasses import replace
from pathlib import Path

import pytest

from cumulet.catalogue import read_catalogue
from cumulet.errors import Invalid
from cumulet.serve.backends import check_bridges
from cumulet.settings import CLIENT_NAMES, SERVER_NAMES, TlsFiles, read_listen, read_settings


def test_without_a_word_everything_has_a_sensible_value():
    settings = read_settings({})
    assert settings.data_dir == Path("/var/lib/cumulet")
    assert (settings.host, settings.port) == ("127.0.0.1", 8480)
    assert settings.database_url == "sqlite:////var/lib/cumulet/cumulet.db"
    assert (settings.hypervisor, settings.fabric) == ("qemu:///system", "unix:/run/ovn/ovnnb_db.sock")
    assert settings.catalogue is None
    assert (settings.tls, settings.plain_http, settings.is_exposed) == (None, False, False)
    assert settings.trusted_proxies == ()
    assert settings.images_dir == Path("/var/lib/cumulet/images")
    assert settings.drain_seconds == 0


def test_what_is_set_counts():
    settings = read_settings(
        {
            "CUMULET_DATA_DIR": "/srv/cloud",
            "CUMULET_LISTEN": "[::]:80",
            "CUMULET_DATABASE_URL": "postgresql+psycopg://db/cumulet",
            "CUMULET_HYPERVISOR": "qemu:///other",
            "CUMULET_FABRIC": "tcp:10.0.0.1:6641",
            "CUMULET_CATALOGUE": "/etc/cumulet.toml",
            "CUMULET_TLS_CERT": "/etc/tls.pem",
            "CUMULET_TLS_KEY": "/etc/tls.key",
            "CUMULET_PLAIN_HTTP": "1",
            "CUMULET_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/24,",
        }
    )
    assert settings.trusted_proxies == ("127.0.0.1", "10.0.0.0/24")
    assert settings.data_dir == Path("/srv/cloud")
    assert (settings.host, settings.port) == ("::", 80)
    assert settings.database_url == "postgresql+psycopg://db/cumulet"
    assert (settings.hypervisor, settings.fabric) == ("qemu:///other", "tcp:10.0.0.1:6641")
    assert settings.catalogue == Path("/etc/cumulet.toml")
    assert settings.tls == TlsFiles(Path("/etc/tls.pem"), Path("/etc/tls.key"))
    assert settings.plain_http


@pytest.mark.parametrize(
    ("environment", "data_dir"),
    [
        ({"HOME": "/home/ann"}, "/home/ann/.local/state/cumulet"),
        ({"HOME": "/home/ann", "XDG_STATE_HOME": "/state"}, "/state/cumulet"),
        ({"HOME": "/home/ann", "CUMULET_DATA_DIR": "/srv"}, "/srv"),
    ],
    ids=["home", "state", "named"],
)
def test_made_up_hosts_need_no_place_that_only_root_can_write_to(environment, data_dir):
    settings = read_settings({"CUMULET_HYPERVISOR": "memory:"} | environment)
    assert settings.data_dir == Path(data_dir)


def test_made_up_hosts_come_with_a_made_up_fabric():
    assert read_settings({"CUMULET_HYPERVISOR": "memory:?hosts=3"}).fabric == "memory:"


def test_an_unknown_name_stops_the_start_and_the_known_ones_are_told():
    with pytest.raises(Invalid, match=r"unknown setting CUMULET_DATADIR.*CUMULET_DATA_DIR"):
        read_settings({"CUMULET_DATADIR": "/srv"})


def test_the_client_s_names_and_everybody_else_s_are_no_mistake():
    read_settings(dict.fromkeys(CLIENT_NAMES, "x") | {"HOME": "/root"})


@pytest.mark.parametrize("name", sorted(SERVER_NAMES))
def test_an_empty_value_is_none(name):
    assert read_settings({name: ""}) == read_settings({})


@pytest.mark.parametrize("value", ["8480", ":8480", "localhost", "localhost:http", "localhost:65536"])
def test_a_place_to_listen_needs_a_host_and_a_port(value):
    with pytest.raises(Invalid, match=r"CUMULET_LISTEN: .*expected HOST:PORT"):
        read_listen(value)


@pytest.mark.parametrize("url", ["mysql://me:secret@db/cumulet", "/var/lib/cumulet.db", "postgresql://db/x"])
def test_a_database_of_another_kind_is_refused_without_repeating_its_password(url):
    with pytest.raises(Invalid, match="CUMULET_DATABASE_URL") as refused:
        read_settings({"CUMULET_DATABASE_URL": url})
    assert "secret" not in refused.value.message
    assert "postgresql+psycopg://" in refused.value.message


@pytest.mark.parametrize(
    ("listens", "exposed"),
    [
        ("127.0.0.1:1", False),
        ("127.8.0.1:1", False),
        ("[::1]:1", False),
        ("localhost:1", False),
        ("0.0.0.0:1", True),
        ("[::]:1", True),
        ("192.0.2.1:1", True),
        ("cloud.example.org:1", True),
    ],
)
def test_what_others_than_this_machine_reach_is_exposed_without_tls(listens, exposed):
    assert read_settings({"CUMULET_LISTEN": listens}).is_exposed is exposed
    tls = {"CUMULET_TLS_CERT": "tls.pem", "CUMULET_TLS_KEY": "tls.key"}
    assert not read_settings({"CUMULET_LISTEN": listens} | tls).is_exposed


@pytest.mark.parametrize(
    ("given", "missing"), [("CUMULET_TLS_CERT", "CUMULET_TLS_KEY"), ("CUMULET_TLS_KEY", "CUMULET_TLS_CERT")]
)
def test_a_certificate_and_its_key_come_together(given, missing):
    with pytest.raises(Invalid, match=f"{missing}: .*both are needed"):
        read_settings({given: "/etc/one.pem"})


def test_a_switch_is_on_or_not_there():
    with pytest.raises(Invalid, match="CUMULET_PLAIN_HTTP: 'yes' is not accepted; expected 1"):
        read_settings({"CUMULET_PLAIN_HTTP": "yes"})


@pytest.mark.parametrize("value", ["proxy.example", "10.0.0.1/24", "127.0.0.1;::1", "*"])
def test_a_proxy_is_an_address_or_a_network(value):
    with pytest.raises(Invalid, match=r"CUMULET_TRUSTED_PROXIES: .* expected IP addresses and networks"):
        read_settings({"CUMULET_TRUSTED_PROXIES": value})


def test_what_servers_share_may_lie_elsewhere_than_what_is_a_servers_own():
    given = {"CUMULET_DATA_DIR": "/srv/one", "CUMULET_SHARED_DIR": "/mnt/cloud"}
    settings = read_settings(given)
    assert (settings.data_dir, settings.images_dir) == (Path("/srv/one"), Path("/mnt/cloud/images"))


@pytest.mark.parametrize("value", ["41", "-1", "1.5", "soon"])
def test_a_server_drains_for_whole_seconds_that_its_manager_waits_for(value):
    with pytest.raises(Invalid, match=r"CUMULET_DRAIN_SECONDS: .*whole seconds from 0 to 40"):
        read_settings({"CUMULET_DRAIN_SECONDS": value})


def test_a_server_without_a_host_of_its_own_needs_bridges_of_its_operators(tmp_path):
    settings = read_settings({"CUMULET_HYPERVISOR": "none", "CUMULET_DATA_DIR": str(tmp_path)})
    assert settings.serves_no_host
    catalogue = read_catalogue(None)
    with pytest.raises(Invalid, match="external_bridge"):
        check_bridges(catalogue)
    bridged = [replace(one, external_bridge="br-public") for one in catalogue.data_centers]
    check_bridges(replace(catalogue, data_centers=tuple(bridged)))
