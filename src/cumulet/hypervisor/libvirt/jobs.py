"""Long work on a host, found again by its id in any process and after any end of one.

FOLDER/ID.lock        held by whoever is at it: free when that process has died
FOLDER/ID.json        what it is, how far it is and how it ended (`Record`)
FOLDER/ID.cancelled   nobody wants it any more, which whoever is at it sees
Record.part           the file that grows; gone whenever nobody is at it

none ──ensure──▶ running ──▶ done
▲                 ├──▶ failed: told once, begun anew with the next ensure
│                 ├──▶ its process died: begun anew with the next ensure
└───── cancel ────┘
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Generic, TypeVar

import msgspec

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.libvirt.files import remove, write_whole


class Cancelled(Exception):
    """Nobody wants the work any more."""


class Record(msgspec.Struct):
    """What is known of a job on disk."""

    source: str
    """From where it copies."""
    part: str
    """The file that grows."""
    fraction: float = 0.0
    """0.0 to 1.0: how much of it is done."""
    error: str = ""
    """Why it ended, or what is to be told of it all the same."""


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Job(Generic[R]):
    """One job that is ours: we hold its lock."""

    id: str
    record: R
    folder: Path

    @property
    def part(self) -> Path:
        """The file that grows."""
        return Path(self.record.part)

    def check(self) -> None:
        """Return when the work is still wanted; Cancelled otherwise."""
        if cancel_mark(self.folder, self.id).exists():
            raise Cancelled

    def note(self) -> None:
        """Write down how far it is; Cancelled when it is wanted no more."""
        self.check()
        write_record(self.folder, self.id, self.record)

    def progress(self, fraction: float) -> None:
        """Write down how much is done."""
        self.record.fraction = fraction
        self.note()

    def fail(self, why: str) -> None:
        """Write down why it ended."""
        self.record.error = why
        self.note()


@dataclass(frozen=True, slots=True)
class Jobs(Generic[R]):
    """The jobs of one kind on one host."""

    folder: Path
    kind: type[R]
    failing: str
    """What a failure's words begin with."""
    unwritten: dict[str, str] = field(default_factory=dict)
    """Failures for which there was no room on the disk, by job."""

    def ids(self) -> frozenset[str]:
        """The jobs of which anything is here."""
        return frozenset(path.stem for path in self.folder.glob("*.lock"))

    def read(self, id: str) -> R | None:
        """What is known of a job; None when nothing is, or when a crash of the host left half a record."""
        with suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode(record_file(self.folder, id).read_bytes(), type=self.kind)
        return None

    def failure(self, id: str) -> str:
        """Why a job ended, until that was told; `""` otherwise."""
        record = self.read(id)
        return self.unwritten.get(id) or (record.error if record else "")

    def ensure(
        self,
        id: str,
        work: Callable[[Job[R]], None],
        *,
        fresh: Callable[[R | None], R],
        is_done: Callable[[R], bool],
    ) -> R:
        """Begin a job or find it, and say how far it is; one that failed is told once and begun anew with the next call.

        `fresh` makes the record to begin with of the one before it; `is_done` tells of that one whether its work still
        stands. HypervisorError when the host has no room to begin.
        """
        with self._in_words(), ExitStack() as held:
            lock = try_lock(self._lock_file(id))
            record = self.read(id)
            if lock is None:  # how it ends is told once it has let go of all
                return msgspec.structs.replace(fresh(None), fraction=record.fraction if record else 0.0)
            held.enter_context(lock)
            if record and not record.error and is_done(record):
                return record
            begun = fresh(record)
            error = self.unwritten.pop(id, "") or (record.error if record else "")
            cancel_mark(self.folder, id).unlink(missing_ok=True)
            write_record(self.folder, id, begun)
            if error:
                return msgspec.structs.replace(record or begun, error=error)
            answer = msgspec.structs.replace(begun)
            run = (Job(id, begun, self.folder), work, held.pop_all())
            threading.Thread(target=self._run, args=run, name=f"job-{id[:12]}", daemon=True).start()
            return answer

    def cancel(self, id: str, *, may_go: Callable[[R], bool] = lambda _: True) -> bool:
        """Give a job up and forget it; False while somebody is at it still, or while `may_go` says so of its record."""
        if not self._lock_file(id).exists():
            return True
        lock = try_lock(self._lock_file(id))
        if lock is None:
            cancel_mark(self.folder, id).touch()
            return False
        with lock:
            record = self.read(id)
            if record and not may_go(record):
                write_record(self.folder, id, record)
                return False
            self._forget(id, record)
        return True

    def forget_idle(self) -> None:
        """Forget all jobs that nobody is at, with what those that died left behind."""
        for id in self.ids():
            if lock := try_lock(self._lock_file(id)):
                with lock:
                    self._forget(id, self.read(id))

    def _forget(self, id: str, record: R | None) -> None:
        """Remove all there is of a job whose lock is ours; the lock goes last."""
        if record:
            Path(record.part).unlink(missing_ok=True)
        remove(record_file(self.folder, id))
        cancel_mark(self.folder, id).unlink(missing_ok=True)
        self._lock_file(id).unlink()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as failure:
            raise HypervisorError(f"{self.failing}: {failure.strerror or failure}") from failure

    def _run(self, job: Job[R], work: Callable[[Job[R]], None], lock: ExitStack) -> None:
        """Do the work, and write down how that ended."""
        with lock, suppress(Cancelled):
            try:
                try:
                    work(job)
                finally:
                    job.part.unlink(missing_ok=True)  # it may be what fills the disk
            except OSError as failure:
                self._fail(job, failure.strerror or str(failure))
            except HypervisorError as failure:
                self._fail(job, str(failure))

    def _fail(self, job: Job[R], why: str) -> None:
        why = f"{self.failing}: {why}"
        try:
            job.fail(why)
        except OSError:
            self.unwritten[job.id] = why

    def _lock_file(self, id: str) -> Path:
        return self.folder / f"{id}.lock"


def record_file(folder: Path, id: str) -> Path:
    """Where a job's record lies."""
    return folder / f"{id}.json"


def cancel_mark(folder: Path, id: str) -> Path:
    """What lies beside a job that nobody wants any more."""
    return folder / f"{id}.cancelled"


def write_record(folder: Path, id: str, record: Record) -> None:
    """Write down how far a job is."""
    write_whole(record_file(folder, id), msgspec.json.encode(record))


def try_lock(path: Path) -> IO[bytes] | None:
    """Take a job's lock if it is free; None when somebody has it, or has just ended with it."""
    lock = path.open("ab")
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_named(lock, path):
            return lock
    lock.close()
    return None


def is_named(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still what the path leads to."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
