"""The helper on the server's own machine: whom it lets in, what it carries on, and whose the files are."""

import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import pytest
from tests.line.conftest import helping as serving_lines

from cumulet.catalogue import read_catalogue
from cumulet.errors import Unavailable
from cumulet.hypervisor.memory import memory_hosts
from cumulet.line.connections import dial_unix
from cumulet.line.far_host import FarHost
from cumulet.line.relay import relay
from cumulet.line.wire import HostWish
from cumulet.serve.backends import open_here, own_doctor, prepare, wish_for
from cumulet.settings import read_settings

ME = pwd.getpwuid(os.geteuid())
SECONDS = 60
"""For whatever does not come at all."""


@pytest.fixture
def environment(tmp_path):
    return {
        "CUMULET_DATA_DIR": str(tmp_path / "data"),
        "CUMULET_HYPERVISOR": f"unix:{tmp_path}/run/helper.sock",
    }


@pytest.fixture
def settings(environment):
    return read_settings(environment)


@pytest.fixture
def far(settings):
    """This machine, as a server has it that asks its helper."""
    far = FarHost(partial(dial_unix, str(settings.helper)), HostWish("", settings.data_dir, {}))
    yield far
    far.close()


def begin(environment, *words):
    others = {name: value for name, value in os.environ.items() if not name.startswith("CUMULET_")}
    command = (sys.executable, "-m", "cumulet", "helper", *words)
    return subprocess.Popen(command, env=others | environment, stderr=subprocess.PIPE, text=True)


@contextmanager
def helping(environment):
    """A helper of whoever runs the tests, which tells its manager when it listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(name := f"\0cumulet-test-{os.getpid()}")
        told.settimeout(SECONDS)
        with begin(environment | {"NOTIFY_SOCKET": f"@{name[1:]}"}, "--user", ME.pw_name) as process:
            try:
                assert told.recv(100) == b"READY=1"
                yield process
            finally:
                process.kill()


def test_a_helper_does_what_the_doctor_does_for_the_one_user_that_may_open_its_socket(
    environment, settings, far
):
    with helping(environment) as process:
        for name in ("helper.sock", "ovnnb_db.sock", "ovnsb_db.sock"):
            found = settings.helper.with_name(name).stat()
            assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, ME.pw_uid), name
        assert far.doctor.is_near("127.0.0.1")
        assert settings.data_dir.is_dir()
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert not settings.helper.exists()


def test_a_data_directory_that_was_closed_lets_those_through_whose_disks_lie_in_it(environment, settings):
    settings.data_dir.mkdir(mode=0o700)
    with helping(environment):
        assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o701


def test_a_second_helper_takes_nothing_over(environment, far):
    with helping(environment):
        with begin(environment, "--user", ME.pw_name) as second:
            assert "another helper runs" in second.communicate(timeout=SECONDS)[1]
            assert second.returncode == 1
        assert far.doctor.is_near("127.0.0.1")


def test_a_helper_that_no_server_would_find_does_not_start(environment):
    with begin(environment | {"CUMULET_HYPERVISOR": "qemu:///system"}) as process:
        assert "CUMULET_HYPERVISOR" in process.communicate(timeout=SECONDS)[1]
        assert process.returncode == 2


def test_a_server_whose_helper_is_away_says_so(settings):
    with pytest.raises(Unavailable, match=r"helper\.sock.*`cumulet helper` must run"):
        prepare(own_doctor(settings), read_catalogue(None))


def test_where_the_helper_is_ovn_answers_beside_it(settings, tmp_path):
    assert settings.fabric == f"unix:{tmp_path}/run/ovnnb_db.sock"
    assert read_settings({"CUMULET_FABRIC": "ssl:10.0.0.1:6641"}).fabric == "ssl:10.0.0.1:6641"


def test_the_server_s_machine_is_a_host_behind_a_line_with_what_lies_there_already(tmp_path):
    place, asked = tmp_path / "helper.sock", []
    there = memory_hosts("memory:", pools=("local",))["memory-1"]
    data_center = read_catalogue(None).data_centers[0]
    with serving_lines(lambda wish: asked.append(wish) or there, place):
        opened = open_here(
            f"unix:{place}", data_center, state_dir=tmp_path, installation="own", prepared=None
        )
        assert [name for name, host in opened.items() if host.machines.list() == {}] == ["memory-1"]
        assert asked == [wish_for(data_center, "own", tmp_path)]
        opened["memory-1"].close()


@pytest.fixture
def in_front(tmp_path):
    """The socket in front of another one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "front"))
        listener.listen()
        relay(listener, str(tmp_path / "behind"))
        yield str(tmp_path / "front")


def test_what_is_said_in_front_is_heard_behind_and_the_other_way(in_front, tmp_path):
    with socket.socket(socket.AF_UNIX) as behind, socket.socket(socket.AF_UNIX) as client:
        behind.bind(str(tmp_path / "behind"))
        behind.listen()
        client.connect(in_front)
        link, _ = behind.accept()
        with link:
            client.sendall(b"ask")
            assert link.recv(100) == b"ask"
            link.sendall(b"answer")
            assert client.recv(100) == b"answer"
            client.close()
            assert link.recv(100) == b""


def test_who_is_not_there_behind_is_not_there_in_front(in_front):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(in_front)
        assert client.recv(100) == b""
