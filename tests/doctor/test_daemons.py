import os
import subprocess
from threading import Thread

import pytest

from cumulet.doctor import daemons
from cumulet.doctor.command import CommandFailed
from cumulet.doctor.daemons import (
    last_words,
    pids_of,
    start_daemons,
    tell_units,
    wait_until_all_answer,
    wait_until_ended,
)
from cumulet.doctor.supervisor import Paths, Running, Status, write_json


@pytest.fixture
def systemd_host(monkeypatch):
    """A host with systemd where some daemons are silent; the commands that were run."""
    commands = []
    monkeypatch.setattr(daemons, "runs_systemd", lambda: True)
    monkeypatch.setattr(daemons, "find_silent", lambda: ["libvirtd", "ovn-nb", "ovn-sb", "ovn-northd"])
    monkeypatch.setattr(daemons, "output_of", lambda *argv, **_: commands.append(argv))
    return commands


def test_a_systemd_host_starts_its_own_units_of_what_is_silent(systemd_host, tmp_path):
    paths = Paths(tmp_path / "run", tmp_path / "log")
    assert start_daemons(hide_kvm=True, integration=("true",), datapath="netdev", paths=paths)
    assert systemd_host == [
        ("systemctl", "start", "libvirtd.service"),
        ("systemctl", "start", "ovn-central.service"),
    ]
    assert not paths.run_dir.exists()


def test_a_daemon_without_a_log_has_no_last_words(tmp_path):
    assert last_words("libvirtd", Paths(tmp_path, tmp_path)) == f"{tmp_path}/libvirtd.log does not exist"


def test_a_libvirtd_that_falls_once_it_took_a_connection_is_waited_for(monkeypatch, tmp_path):
    answers = iter([False, False, True])
    monkeypatch.setattr(daemons, "find_silent", list)
    monkeypatch.setattr(daemons, "succeeds", lambda *_: next(answers))
    wait_until_all_answer(Paths(tmp_path, tmp_path))
    assert list(answers) == []


def test_a_libvirtd_that_takes_no_call_is_told_with_the_end_of_its_log(monkeypatch, tmp_path):
    monkeypatch.setattr(daemons, "find_silent", list)
    monkeypatch.setattr(daemons, "succeeds", lambda *_: False)
    monkeypatch.setattr(daemons, "START_SECONDS", 0.1)
    (tmp_path / "libvirtd.log").write_text("no room for a socket")
    with pytest.raises(CommandFailed, match=r"libvirtd does not answer.*ends:\nno room for a socket"):
        wait_until_all_answer(Paths(tmp_path, tmp_path))


def test_units_of_databases_are_told_how_to_run_together_once_and_no_longer_when_they_are_elsewhere(
    systemd_host, tmp_path
):
    tell_units("", tmp_path)
    assert systemd_host == [], "as their package has them"
    tell_units("--one --other", tmp_path)
    assert systemd_host == [
        ("systemctl", "daemon-reload"),
        (
            "systemctl",
            "restart",
            "ovn-ovsdb-server-nb.service",
            "ovn-ovsdb-server-sb.service",
            "ovn-northd.service",
        ),
    ]
    written = {
        str(file.relative_to(tmp_path)): file.read_text() for file in tmp_path.rglob("*") if file.is_file()
    }
    assert written["etc/openvswitch/cumulet-central.env"] == "OVN_CTL_OPTS=--one --other\n"
    drop_in = written["etc/systemd/system/ovn-northd.service.d/cumulet.conf"]
    assert drop_in == "[Service]\nEnvironmentFile=/etc/openvswitch/cumulet-central.env\n"
    tell_units("--one --other", tmp_path)
    assert len(systemd_host) == 2, "nothing is started anew that runs so"
    tell_units("", tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_daemon_that_is_to_run_otherwise_has_ended_before_anything_is_waited_for(tmp_path):
    paths = Paths(tmp_path, tmp_path)
    with subprocess.Popen(("sleep", "600")) as old:
        write_json(paths.status, Status(1, {"libvirtd": Running(old.pid, 1), "virtlogd": Running(None, 1)}))
        assert pids_of(["libvirtd", "virtlogd", "ovn-nb"], paths) == [old.pid]
        waiting = Thread(target=wait_until_ended, args=([old.pid],))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        old.kill()
    waiting.join()


def test_a_daemon_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr(daemons, "START_SECONDS", 0.1)
    with pytest.raises(CommandFailed, match=str(os.getpid())):
        wait_until_ended([os.getpid()])
