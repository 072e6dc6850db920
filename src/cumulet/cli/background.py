"""The server in the background: one for each data directory, started again should it die, stopped as one.

    sh (until it ends well)     leads a session of its own, so that it outlives whoever started it
    └ cumulet serve

Both hold a lock on `serve.pid`: as long as it is held the server is there, whatever became of its process ids.
Settings that are wrong (exit code 2) end the loop, because trying them again would not mend them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from cumulet.cli.client import Declined, open_client
from cumulet.cli.config import local_context
from cumulet.errors import Unavailable
from cumulet.settings import Settings

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 2.0
POLL_SECONDS: Final = 0.05
LAST_WORDS: Final = 2000
KEEP: Final = 'echo $$ >"$0"; until "$@"; do [ $? -eq 2 ] && exit 2; sleep 1; done'


def start_server(settings: Settings) -> bool:
    """Start the server unless it is there, and wait until it answers; False when it did already.

    Unavailable with the end of its log when it does not come to answer.
    """
    if answers(settings):
        return False
    settings.data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    with locked(settings) as lock:
        if lock:
            launch(settings, lock)
    if wait_until(lambda: answers(settings) or not is_there(settings), START_SECONDS) and answers(settings):
        return True
    stop_server(settings)
    log = log_file(settings)
    raise Unavailable(f"the server does not answer; {log} ends:\n{log.read_text()[-LAST_WORDS:]}")


def stop_server(settings: Settings) -> bool:
    """Stop the server and wait until it is gone; False when there was none in the background."""
    for sign, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        if not is_there(settings):
            return sign is not signal.SIGTERM
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(pid_file(settings).read_text()), sign)
        if wait_until(lambda: not is_there(settings), seconds):
            return True
    raise Unavailable(f"the server does not stop; its process group is in {pid_file(settings)}")


def answers(settings: Settings) -> bool:
    """Whether a server is well at the address of the settings."""
    try:
        open_client(local_context(settings), seconds=ANSWER_SECONDS).fetch("/healthz")
    except (Declined, Unavailable):
        return False
    return True


def is_there(settings: Settings) -> bool:
    """Whether the data directory's server is there, even if it does not answer."""
    if not pid_file(settings).exists():
        return False
    with locked(settings) as lock:
        return lock is None


def launch(settings: Settings, lock: IO[str]) -> None:
    """Start the loop that keeps the server running; it writes down its process group itself."""
    keep = ("sh", "-c", KEEP, str(pid_file(settings)), sys.executable, "-m", "cumulet", "serve")
    # setsid --fork: nobody's child, so that it neither ends with us nor waits for us to collect it
    with log_file(settings).open("ab") as log:
        subprocess.run(
            ("setsid", "--fork", *keep),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            pass_fds=[lock.fileno()],
            check=True,
        )


@contextmanager
def locked(settings: Settings) -> Iterator[IO[str] | None]:
    """Hold the lock that a running server holds; None when one does."""
    with pid_file(settings).open("a") as lock:
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


def pid_file(settings: Settings) -> Path:
    """Name the file that a running server holds locked; in it stands its process group."""
    return settings.data_dir / "serve.pid"


def log_file(settings: Settings) -> Path:
    """Name the server's log."""
    return settings.data_dir / "serve.log"
