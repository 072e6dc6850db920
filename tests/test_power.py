"""The operator's command that cuts a host's power, as the server runs it."""

import os

import pytest
from tests.waiting import eventually, is_alive

from cumulet.errors import Invalid
from cumulet.serve import power
from cumulet.serve.power import cut, power_off_by
from cumulet.vms import PowerFailed


@pytest.fixture
def command(tmp_path):
    def write(*lines):
        path = tmp_path / "power"
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)
        return path

    return write


def test_it_is_told_the_host_and_its_words_are_kept(command):
    assert cut(command('echo "$1 $2:"', "echo '  Chassis   power is off'"), "rack-7") == (
        "off rack-7: Chassis power is off"
    )


def test_one_that_fails_confirms_nothing_whatever_it_says(command):
    with pytest.raises(PowerFailed) as failure:
        cut(command("echo no route to the board >&2", "exit 3"), "rack-7")
    assert str(failure.value).endswith("power ended with 3: no route to the board")
    assert "board" not in failure.value.message


def test_one_that_hangs_is_ended_with_all_that_it_began(command, monkeypatch, tmp_path):
    monkeypatch.setattr(power, "SECONDS", 0.3)
    pid_file = tmp_path / "pid"
    with pytest.raises(PowerFailed, match=r"took longer than 0\.3 s"):
        cut(command("sleep 1000 &", f"echo $! > {pid_file}", "wait"), "rack-7")
    assert eventually(lambda: not is_alive(int(pid_file.read_text())))


def test_it_reads_no_secret_of_the_servers(command, monkeypatch):
    monkeypatch.setenv("CUMULET_DATABASE_URL", "postgresql+psycopg://cumulet:hunter2@db/cumulet")
    assert "hunter2" not in cut(command("env"), "rack-7")


def test_one_that_nobody_can_run_stops_the_start(tmp_path):
    (tmp_path / "power").touch()
    for path in (tmp_path / "power", tmp_path / "absent", tmp_path):
        with pytest.raises(Invalid, match="expected a file that can be executed"):
            power_off_by(path)
    assert power_off_by(None) is None
    assert os.access(tmp_path, os.X_OK)


def test_the_machine_that_the_server_is_on_is_left_on_by_it(command):
    with pytest.raises(PowerFailed, match="this server"):
        cut(command, f"{os.uname().nodename}.example")
