"""The supervisor with toy daemons: shell scripts that write down when they start."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import PATIENCE_S, eventually, is_alive

from cumulet.doctor import supervisor
from cumulet.doctor.supervisor import (
    LONGEST_WAIT,
    Daemon,
    Paths,
    locked,
    read_status,
    wait_before_start,
    write_json,
)


class Toys:
    """A supervisor in a directory of its own, and what it keeps."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.paths = Paths(directory, directory)
        self.process: subprocess.Popen[bytes] | None = None

    def daemon(self, name: str, **how: object) -> Daemon:
        started = self.directory / "started"
        return Daemon(name, ("sh", "-c", f"echo {name} >>{started}; exec sleep 600"), **how)

    def keep(self, *daemons: Daemon) -> None:
        write_json(self.paths.daemons, daemons)
        if self.process:
            self.process.send_signal(signal.SIGHUP)
        else:
            self.process = self.launch()

    def launch(self) -> subprocess.Popen[bytes]:
        argv = (sys.executable, "-m", "cumulet.doctor.supervisor", str(self.directory), str(self.directory))
        return subprocess.Popen(argv)

    def pid(self, name: str) -> int | None:
        status = read_status(self.paths)
        return status.daemons[name].pid if status and name in status.daemons else None

    def started(self) -> list[str]:
        file = self.directory / "started"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def toys(tmp_path):
    toys = Toys(tmp_path)
    yield toys
    if toys.process:
        toys.process.terminate()
        toys.process.wait()


def test_a_killed_daemon_comes_back(toys):
    toys.keep(toys.daemon("one"))
    eventually(lambda: toys.pid("one"))
    first = toys.pid("one")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: toys.pid("one") not in (None, first))
    assert read_status(toys.paths).daemons["one"].starts == 2


def test_a_daemon_starts_after_the_one_it_needs_and_what_follows_its_start(toys):
    socket = toys.directory / "socket"
    follow_up = ("sh", "-c", f"echo follow-up >>{toys.directory}/started")
    slow = f"echo slow >>{toys.directory}/started; sleep 0.2; touch {socket}; exec sleep 600"
    toys.keep(
        toys.daemon("second", after="slow"),
        Daemon("slow", ("sh", "-c", slow), ready=str(socket), then=(follow_up,)),
    )
    eventually(lambda: toys.pid("second"))
    eventually(lambda: len(toys.started()) == 3)
    assert toys.started() == ["slow", "follow-up", "second"]


def test_a_socket_of_an_earlier_life_does_not_count(toys):
    socket = toys.directory / "socket"
    socket.touch()
    toys.keep(toys.daemon("mute", ready=str(socket)), toys.daemon("second", after="mute"))
    eventually(lambda: toys.pid("mute"))
    assert not socket.exists()
    assert toys.pid("second") is None


def test_only_a_bound_daemon_dies_with_its_leader(toys):
    toys.keep(
        toys.daemon("leader"),
        toys.daemon("bound", after="leader", dies_with_it=True),
        toys.daemon("free", after="leader"),
    )
    eventually(lambda: toys.pid("bound") and toys.pid("free"))
    bound, free = toys.pid("bound"), toys.pid("free")
    os.kill(toys.pid("leader"), signal.SIGKILL)
    eventually(lambda: toys.pid("bound") not in (None, bound))
    assert toys.pid("free") == free


def test_a_daemon_does_not_wait_for_one_that_is_not_ours(toys):
    toys.keep(toys.daemon("one", after="somebody else's"))
    eventually(lambda: toys.pid("one"))


def test_a_keeper_that_fails_ends_the_supervisor_loudly(toys):
    (toys.directory / "one.log").mkdir()
    toys.keep(toys.daemon("one"), toys.daemon("two"))
    assert toys.process.wait(PATIENCE_S) != 0


def test_a_new_list_stops_what_is_gone_and_leaves_the_rest(toys):
    toys.keep(toys.daemon("stays"), toys.daemon("goes"))
    eventually(lambda: toys.pid("stays") and toys.pid("goes"))
    stays, goes = toys.pid("stays"), toys.pid("goes")
    toys.keep(toys.daemon("stays"), toys.daemon("comes"))
    eventually(lambda: toys.pid("comes") and not is_alive(goes))
    assert toys.pid("stays") == stays
    assert read_status(toys.paths).daemons.keys() == {"stays", "comes"}


def test_the_end_takes_all_daemons_along(toys):
    toys.keep(toys.daemon("one"), toys.daemon("two"))
    eventually(lambda: toys.pid("one") and toys.pid("two"))
    pids = [toys.pid("one"), toys.pid("two")]
    toys.process.terminate()
    assert toys.process.wait(PATIENCE_S) == 0
    assert not any(map(is_alive, pids))


def test_a_daemon_that_does_not_want_to_end_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.1)

    async def end_deaf() -> int | None:
        with (tmp_path / "log").open("ab") as log:
            deaf = await supervisor.spawn(
                ("sh", "-c", f"trap '' TERM; touch {tmp_path}/deaf; while :; do sleep 0.1; done"), log
            )
            await supervisor.appearance(tmp_path / "deaf")
            await supervisor.end(deaf)
        return deaf.returncode

    assert asyncio.run(end_deaf()) == -signal.SIGKILL


def test_daemons_do_not_outlive_a_killed_supervisor(toys):
    toys.keep(toys.daemon("one"))
    eventually(lambda: toys.pid("one"))
    toys.process.kill()
    toys.process.wait()
    eventually(lambda: not is_alive(toys.pid("one")))


def test_a_second_supervisor_leaves_at_once(toys):
    toys.keep(toys.daemon("one"))
    eventually(lambda: toys.pid("one"))
    assert toys.launch().wait(PATIENCE_S) == 0
    assert read_status(toys.paths).pid == toys.process.pid


def test_what_a_daemon_says_is_in_its_log(toys):
    toys.keep(Daemon("talker", ("sh", "-c", "echo said; echo complained >&2; exit 3")))
    log = toys.directory / "talker.log"
    eventually(lambda: log.exists() and "exit code 3" in log.read_text())
    assert log.read_text().startswith("said\ncomplained\n")


def test_daemons_may_open_as_many_files_as_ovs_wants(toys):
    toys.keep(Daemon("limits", ("sh", "-c", "ulimit -n")))
    log = toys.directory / "limits.log"
    eventually(lambda: log.exists() and "exit code" in log.read_text())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert log.read_text().split()[0] == str(min(65535, most))


def test_early_deaths_are_waited_out_longer_and_longer():
    waits = [wait_before_start(deaths) for deaths in range(20)]
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert waits[1] < 1
    assert waits[-1] == LONGEST_WAIT


def test_a_lock_is_held_by_one(tmp_path):
    with locked(tmp_path / "lock", wait=False) as first, locked(tmp_path / "lock", wait=False) as second:
        assert (first, second) == (True, False)
    with locked(tmp_path / "lock", wait=False) as third:
        assert third
