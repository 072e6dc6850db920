import subprocess
import sys
import threading

import pytest
from tests.waiting import PATIENCE_S, eventually

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.libvirt import jobs as protocol
from cumulet.hypervisor.libvirt.jobs import Jobs, Record

HOLD = """
import sys, time
from pathlib import Path
from cumulet.hypervisor.libvirt.jobs import Record, try_lock, write_record
folder, part = map(Path, sys.argv[1:])
lock = try_lock(folder / "a.lock")
part.write_bytes(b"half")
write_record(folder, "a", Record(source="there", part=str(part), fraction=0.5))
print("holds", flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "jobs").mkdir()
    return tmp_path / "jobs"


@pytest.fixture
def part(tmp_path):
    return tmp_path / "part"


@pytest.fixture
def ensure(folder, part):
    """Begin or find job `a`, as a process of its own would that has just started."""

    def ensure(work, jobs=None):
        return (jobs or Jobs(folder, Record, failing="cannot")).ensure(
            "a",
            work,
            fresh=lambda _: Record(source="there", part=str(part)),
            is_done=lambda record: record.fraction == 1.0,
        )

    return ensure


def do(job):
    job.progress(1.0)


def test_a_job_is_found_again_by_its_id_and_is_done_once(ensure):
    begun, go_on = [], threading.Event()

    def work(job):
        begun.append(job.id)
        job.progress(0.5)
        go_on.wait(PATIENCE_S)
        job.progress(1.0)

    assert ensure(work).fraction == 0.0
    eventually(lambda: ensure(work).fraction == 0.5)
    go_on.set()
    eventually(lambda: ensure(work).fraction == 1.0)
    assert ensure(work).fraction == 1.0
    assert begun == ["a"]


def test_a_job_is_another_process_s_as_long_as_that_lives_and_begun_anew_when_it_dies(ensure, folder, part):
    argv = [sys.executable, "-c", HOLD, str(folder), str(part)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"holds\n"
        assert ensure(do).fraction == 0.5
        assert not Jobs(folder, Record, failing="cannot").cancel("a")
        Jobs(folder, Record, failing="cannot").forget_idle()
        assert part.read_bytes() == b"half"
        other.kill()
    eventually(lambda: ensure(do).fraction == 1.0)


def test_a_job_whose_record_a_crash_of_the_host_emptied_is_begun_anew(ensure, folder):
    (folder / "a.json").touch()
    eventually(lambda: ensure(do).fraction == 1.0)


def test_a_failure_is_told_once_and_the_next_call_begins_anew(ensure):
    def fail(_job):
        raise HypervisorError("for a reason")

    assert eventually(lambda: ensure(fail).error) == "cannot: for a reason"
    eventually(lambda: ensure(do).fraction == 1.0)


def test_a_job_that_is_given_up_in_the_midst_ends_and_leaves_nothing(ensure, folder, part):
    def work(job):
        job.part.write_bytes(b"half")
        while True:
            job.progress(0.5)

    ensure(work)
    eventually(part.exists)
    jobs = Jobs(folder, Record, failing="cannot")
    eventually(lambda: jobs.cancel("a"))
    assert (list(folder.iterdir()), part.exists()) == ([], False)


def test_a_failure_that_there_is_no_room_to_write_down_is_told_all_the_same(ensure, folder, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    def fill(_job):
        monkeypatch.setattr(protocol, "write_record", refuse)
        refuse()

    jobs = Jobs(folder, Record, failing="cannot")
    ensure(fill, jobs)
    eventually(lambda: jobs.failure("a"))
    with pytest.raises(HypervisorError, match="cannot: No space"):
        ensure(do, jobs)
    monkeypatch.undo()
    eventually(lambda: ensure(do, jobs).fraction == 1.0)


def test_how_a_job_ended_is_told_when_it_has_let_go_of_all(ensure, folder, part):
    ended = Record(source="there", part=str(part), fraction=0.7, error="cannot")
    with protocol.try_lock(folder / "a.lock"):
        protocol.write_record(folder, "a", ended)
        assert (ensure(do).fraction, ensure(do).error) == (0.7, "")
    assert ensure(do).error == "cannot"
    assert Jobs(folder, Record, failing="cannot").cancel("a")


def test_who_waited_for_a_job_that_is_just_forgotten_has_not_its_lock(folder, monkeypatch):
    lock_file, flock = folder / "a.lock", protocol.fcntl.flock

    def forget_first(lock, how):
        lock_file.unlink()
        flock(lock, how)

    monkeypatch.setattr(protocol.fcntl, "flock", forget_first)
    assert protocol.try_lock(lock_file) is None
    monkeypatch.undo()
    with protocol.try_lock(lock_file) as lock:
        assert protocol.is_named(lock, lock_file)
