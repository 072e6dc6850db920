"""The server as a service: what it tells the manager that started it, and the files by which it is one."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from tests.ports import free_port

from cumulet.serve.manager import Manager

FILES = Path(__file__).parents[1] / "systemd"
UNITS = ("cumulet.service", "cumulet-helper.service")
EXPOSURE = 20
"""Of 100, in systemd's own judgement; what runs as root and prepares hosts has 76."""
SECONDS = 60
"""For whatever does not come at all."""


@pytest.fixture
def listening(tmp_path):
    """A service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(SECONDS)
        yield line


@contextmanager
def server(tmp_path, **environment):
    """A server that a manager has started, without TLS."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("CUMULET_")}
    settings = {"CUMULET_HYPERVISOR": f"memory:{uuid4()}", "CUMULET_DATA_DIR": str(tmp_path / "data")}
    command = (sys.executable, "-m", "cumulet", "serve")
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, env=others | settings | environment, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_server_tells_its_manager_how_it_fares_from_its_start_to_its_end(tmp_path, listening):
    port = free_port()
    told = iter(lambda: listening.recv(4096).decode(), None)
    named = {"NOTIFY_SOCKET": listening.getsockname(), "WATCHDOG_USEC": "600000"}
    with server(tmp_path, CUMULET_LISTEN=f"127.0.0.1:{port}", **named) as process:
        assert next(told) == "READY=1"
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").json() == {"status": "ok"}
        assert [next(told), next(told)] == ["WATCHDOG=1"] * 2
        process.send_signal(signal.SIGHUP)
        reloading = next(one for one in told if one != "WATCHDOG=1").splitlines()
        assert reloading[0] == "RELOADING=1"
        assert reloading[1].startswith("MONOTONIC_USEC=")
        assert next(one for one in told if one != "WATCHDOG=1") == "READY=1"
        process.send_signal(signal.SIGTERM)
        assert next(one for one in told if one != "WATCHDOG=1") == "STOPPING=1"
        process.wait(SECONDS)


def test_what_the_server_runs_is_not_told_of_the_manager():
    environment = {
        "NOTIFY_SOCKET": "@a",
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    assert Manager.named_in(environment) == Manager("@a", 3.0)
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize(
    "environment",
    [
        {"NOTIFY_SOCKET": "@a", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "@a"},
    ],
    ids=["another process is watched", "nobody watches"],
)
def test_who_is_not_watched_sends_no_sign_of_life(environment):
    assert Manager.named_in(environment) == Manager("@a", 0.0)


def test_without_a_manager_nobody_is_told():
    nobody = Manager.named_in({"WATCHDOG_USEC": "3000000"})
    assert (nobody.is_there, nobody.patience) == (False, 0.0)
    asyncio.run(asyncio.to_thread(nobody.serves))


def test_a_socket_without_a_file_is_spoken_to_as_well():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(name := f"\0cumulet-{uuid4()}")
        line.settimeout(SECONDS)
        Manager(f"@{name[1:]}").ends()
        assert line.recv(4096) == b"STOPPING=1"


def test_a_manager_that_does_not_listen_keeps_no_server_from_going_on(tmp_path):
    Manager(str(tmp_path / "gone")).ends()


@pytest.fixture
def units(tmp_path):
    """The files of both units, with a program that is there."""
    for name in UNITS:
        text = (FILES / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/cumulet/bin/cumulet", sys.executable))
    return [tmp_path / name for name in UNITS]


def test_systemd_takes_every_line_of_the_units(units):
    verify = ("systemd-analyze", "verify", "--man=no", *units)
    looked = subprocess.run(verify, check=False, capture_output=True, text=True)
    assert (looked.returncode, looked.stderr) == (0, "")


def test_the_server_is_as_little_exposed_as_systemd_can_make_it(units):
    judge = (
        "systemd-analyze",
        "security",
        "--no-pager",
        "--offline=true",
        f"--threshold={EXPOSURE}",
        units[0],
    )
    judged = subprocess.run(judge, check=False, capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout


def test_both_units_have_the_same_settings_and_make_no_directory():
    texts = [(FILES / name).read_text().splitlines() for name in UNITS]
    settings = [[line for line in text if line.startswith("Environment")] for text in texts]
    assert settings[0] == settings[1]
    assert not any("Directory=" in line for text in texts for line in text)


def test_the_log_is_taken_away_under_a_server_that_goes_on_writing(tmp_path):
    log, rules = tmp_path / "serve.log", tmp_path / "rules"
    rules.write_text(
        (FILES / "cumulet.logrotate").read_text().replace("/var/lib/cumulet/serve.log", str(log))
    )
    rules.chmod(0o644)
    with log.open("ab", buffering=0) as writing:
        writing.write(b"before\n")
        subprocess.run(("logrotate", "--force", "--state", tmp_path / "state", rules), check=True)
        writing.write(b"after\n")
    assert (log.read_bytes(), (tmp_path / "serve.log.1").read_bytes()) == (b"after\n", b"before\n")
