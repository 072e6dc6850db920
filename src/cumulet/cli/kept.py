"""A process in the background, started again should it die, stopped as one.

    sh (until it ends well)     leads a session of its own, so that it outlives whoever started it
    └ the process

Both hold a lock on a file: as long as it is held the process is there, whatever became of process ids.
What is set wrongly (exit code 2) ends the loop, because trying it again would not mend it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from cumulet.errors import Unavailable

STOP_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
LAST_WORDS: Final = 2000
KEEP: Final = 'echo $$ >"$0"; until "$@"; do [ $? -eq 2 ] && exit 2; sleep 1; done'


@dataclass(frozen=True, slots=True)
class Kept:
    """One such process, known by its folder and its name there."""

    folder: Path
    name: str
    """As in "the server"."""
    files: str
    """What its files are called, but for their suffixes."""
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """Besides this process's own."""

    @property
    def pid_file(self) -> Path:
        """What it holds locked while it is there; in it stands its process group."""
        return self.folder / f"{self.files}.pid"

    @property
    def log_file(self) -> Path:
        """Where what it says goes."""
        return self.folder / f"{self.files}.log"

    def is_there(self) -> bool:
        """Whether it is there, even if it does not answer."""
        if not self.pid_file.exists():
            return False
        with self.locked() as lock:
            return lock is None

    def start(self, answers: Callable[[], bool], *, seconds: float) -> None:
        """Start it unless it is there, and wait until it answers; Unavailable with the end of its log when it does not."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self.locked() as lock:
            if lock:
                self._launch(lock)
        if wait_until(lambda: answers() or not self.is_there(), seconds) and answers():
            return
        self.stop()
        words = self.log_file.read_text()[-LAST_WORDS:]
        raise Unavailable(f"{self.name} does not answer; {self.log_file} ends:\n{words}")

    def stop(self) -> bool:
        """Stop it and wait until it is gone; False when there was none."""
        for sign, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            if not self.is_there():
                return sign is not signal.SIGTERM
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(self.pid_file.read_text()), sign)
            if wait_until(lambda: not self.is_there(), seconds):
                return True
        raise Unavailable(f"{self.name} does not stop; its process group is in {self.pid_file}")

    def _launch(self, lock: IO[str]) -> None:
        """Start the loop that keeps it running; it writes down its process group itself."""
        keep = ("sh", "-c", KEEP, str(self.pid_file), *self.command)
        # setsid --fork: nobody's child, so that it neither ends with us nor waits for us to collect it
        with self.log_file.open("ab") as log:
            subprocess.run(
                ("setsid", "--fork", *keep),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
                cwd="/",
                pass_fds=[lock.fileno()],
                check=True,
            )

    @contextmanager
    def locked(self) -> Iterator[IO[str] | None]:
        """Hold the lock that it holds; None when it does."""
        with self.pid_file.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield lock


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for something to come true; False when it does not in its time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
