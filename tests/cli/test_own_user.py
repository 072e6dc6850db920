"""When the server that `cumulet up` starts runs as a user of its own, and what is in the way otherwise."""

import os

import pytest

from cumulet.cli import own_user
from cumulet.cli.background import helper_of, server_of
from cumulet.cli.own_user import as_user, closed_to_user, needed, with_user
from cumulet.settings import read_settings

AS_CUMULET = ("setpriv", "--reuid=cumulet", "--regid=cumulet", "--init-groups", "--no-new-privs")


@pytest.fixture
def settings(tmp_path):
    return read_settings({"CUMULET_DATA_DIR": str(tmp_path / "data")})


@pytest.fixture
def free(monkeypatch):
    """Root runs this, and nothing is in the way."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(own_user, "closed_to_user", lambda _: "")


@pytest.mark.usefixtures("free")
def test_on_real_hosts_a_helper_does_what_needs_root_and_the_server_is_a_user_of_its_own(settings):
    chosen = with_user(settings)
    assert chosen.hypervisor == "unix:/run/cumulet/host/helper.sock"
    assert chosen.fabric == "unix:/run/cumulet/host/ovnnb_db.sock"
    server, helper = server_of(chosen), helper_of(chosen)
    assert server.command[: len(AS_CUMULET)] == AS_CUMULET
    assert server.command[-1] == "serve"
    assert helper.command[-3:] == ("helper", "--user", "cumulet")
    assert {each.environment["CUMULET_HYPERVISOR"] for each in (server, helper)} == {chosen.hypervisor}


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    "environment",
    [
        {"CUMULET_HYPERVISOR": "memory:"},
        {"CUMULET_HYPERVISOR": "unix:/elsewhere"},
        {"CUMULET_HYPERVISOR": "qemu:///a"},
    ],
    ids=["made up", "helped already", "another libvirt"],
)
def test_what_its_operator_chose_stays(environment):
    settings = read_settings(environment)
    assert with_user(settings) == settings


@pytest.mark.usefixtures("free")
def test_where_ovn_is_stays_as_its_operator_chose(tmp_path):
    settings = read_settings({"CUMULET_FABRIC": "ssl:10.0.0.1:6641"})
    assert with_user(settings).fabric == "ssl:10.0.0.1:6641"


def test_who_is_not_root_becomes_nobody_else(settings, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert with_user(settings) == settings
    assert server_of(settings).command[-3:] == ("-m", "cumulet", "serve")
    assert helper_of(settings) is None


def test_what_is_in_the_way_leaves_the_server_root_s(settings, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(own_user, "USER", "nobody-of-this-name")
    assert "nobody-of-this-name" in closed_to_user(settings)
    assert with_user(settings) == settings


def test_a_low_port_is_the_one_right_that_the_user_gets():
    listens = {"CUMULET_LISTEN": "127.0.0.1:443"}
    assert as_user(read_settings({})) == AS_CUMULET
    assert as_user(read_settings(listens))[-1] == "--ambient-caps=+net_bind_service"


def test_what_settings_name_is_needed_but_for_what_will_be_the_server_s_own(tmp_path):
    named = {
        "CUMULET_DATA_DIR": str(tmp_path / "data"),
        "CUMULET_CATALOGUE": str(tmp_path / "catalogue.toml"),
        "CUMULET_TLS_CERT": str(tmp_path / "data/tls/server.pem"),
        "CUMULET_TLS_KEY": str(tmp_path / "server.key"),
    }
    found = {path for path in needed(read_settings(named)) if path.is_relative_to(tmp_path)}
    assert found == {tmp_path, tmp_path / "catalogue.toml", tmp_path / "server.key"}
