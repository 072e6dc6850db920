"""What the doctor says of this machine, and what it looks at because the catalogue says so."""

from importlib.resources import files

import pytest

from cumulet.cli import doctor as cli
from cumulet.doctor.examine import NO_POOLS, examine_pools
from cumulet.doctor.findings import Level, broken, degraded, ok
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
def look_at_pools(monkeypatch):
    """Look at what the doctor does, but at no more of the host than its pools."""
    monkeypatch.setattr(
        cli, "examine", lambda data_dir, *, pools=NO_POOLS, **_: examine_pools(data_dir, pools)
    )
    return cli.look


@pytest.fixture
def examined(tmp_path, look_at_pools):
    """What is found with a catalogue that has one pool more."""

    def look(path):
        offered = (files("cumulet.catalogue") / "default.toml").read_text()
        catalogue = tmp_path / "catalogue.toml"
        catalogue.write_text(offered.replace("\n[[machine_types]]", FAST.format(path=path), 1))
        return look_at_pools(
            read_settings({"CUMULET_DATA_DIR": str(tmp_path), "CUMULET_CATALOGUE": str(catalogue)})
        )

    return look


def test_each_pool_that_is_to_be_mounted_is_looked_at(examined, tmp_path):
    (finding,) = examined(tmp_path / "fast")
    assert (finding.name, finding.level) == ("disk pool fast", Level.DEGRADED)


def test_the_pool_with_cumulets_own_data_is_measured_as_the_disk_it_lies_on(look_at_pools, tmp_path):
    assert look_at_pools(read_settings({"CUMULET_DATA_DIR": str(tmp_path)})) == []


def test_a_catalogue_with_a_mistake_is_a_finding(examined):
    (finding,) = examined("no/path")
    assert (finding.name, finding.level) == ("catalogue", Level.BROKEN)
    assert "disk_pools[1].path: 'no/path' is not accepted" in finding.text


@pytest.fixture
def found(monkeypatch):
    """What examining this host finds; a test puts it here."""
    findings = [ok("QEMU", "7.2.22")]
    monkeypatch.setattr(cli, "examine", lambda *_, **__: findings)
    return findings


def run_doctor(*words):
    return cli.app(list(words), result_action="return_value")


def test_a_host_without_anything_broken_ends_with_0(found, capsys):
    found.append(degraded("KVM", "hangs", cost="slow guests"))
    assert run_doctor() == 0
    printed = capsys.readouterr().out
    assert "QEMU" in printed
    assert "costs: slow guests" in printed


def test_what_is_broken_is_told_with_its_cure_and_ends_with_1(found, capsys):
    found.append(broken("OVN", "not [installed]", cure="cumulet doctor prepare"))
    assert run_doctor() == 1
    printed = capsys.readouterr().out
    assert "not [installed]" in printed
    assert "fix: cumulet doctor prepare" in printed


def test_what_a_daemon_said_last_does_not_speak_to_the_terminal(found, capsys):
    found.append(broken("OVN", "ended: \x1b]0;hello\x07 \x9b2J \u202eover", cure="cumulet doctor prepare"))
    run_doctor()
    printed = capsys.readouterr().out
    assert "ended: ]0;hello 2J over" in printed
    assert "\x9b" not in printed


@pytest.fixture
def hosts(monkeypatch):
    """The hosts that this machine's server tells of."""
    told = []

    class Server:
        def list(self, *_ids, **_query):
            return told

    monkeypatch.setattr(cli, "connect_here", lambda _settings: Server())
    return told


@pytest.mark.usefixtures("found")
def test_hosts_that_do_not_answer_are_told_and_no_others(hosts, capsys):
    for name, state in {"node-1": "UP", "node-2": "SILENT", "node-3": "CORDONED"}.items():
        hosts.append({"id": name, "state": state, "stateTime": "2026-03-01T12:00:00Z", "why": "no route"})
    assert run_doctor() == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "SILENT since" in printed
    assert "cumulet host get node-2" in printed
    assert "node-1" not in printed
    assert "node-3" not in printed


@pytest.mark.usefixtures("found")
def test_without_a_server_here_nothing_is_told_of_its_hosts(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("CUMULET_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CUMULET_LISTEN", "127.0.0.1:1")
    assert run_doctor() == 0
    assert "host " not in capsys.readouterr().out


def test_stopping_what_does_not_run_is_no_failure(monkeypatch, capsys):
    monkeypatch.setattr(cli, "stop_daemons", lambda: False)
    assert run_doctor("stop") == 0
    assert capsys.readouterr().out == "nothing of ours was running\n"


@pytest.mark.parametrize(
    ("is_there", "reason", "told"),
    [(True, "closed", ["server"]), (True, "", []), (False, "closed", [])],
    ids=["in the way", "nothing in the way", "not up yet"],
)
def test_what_keeps_the_server_root_s_is_told_once_it_could_be_otherwise(monkeypatch, is_there, reason, told):
    monkeypatch.setattr(cli, "is_user_there", lambda: is_there)
    monkeypatch.setattr(cli, "closed_to_user", lambda _: reason)
    assert [finding.name for finding in cli.server_as_root(read_settings({}))] == told
    assert cli.server_as_root(read_settings({"CUMULET_HYPERVISOR": "memory:"})) == []
