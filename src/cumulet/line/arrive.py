"""What arrives first on a host: takes the bundle if it is not there yet, and has its helper run.

This file alone is given to the host's Python, before anything of ours is there: it uses nothing but Python's own
library. It prints a line of JSON for each thing that it has to say: `{"send": true}`, `{"ready": true}` or
`{"refused": "why"}`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import platform
import select
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE_SECONDS = 30.0
"""For a helper to answer that was started."""


GREETING_BYTES = 5
"""An empty frame, with which a helper begins."""


class Refused(Exception):
    """It cannot be done here; the message says why."""


def arrive(digest: str, size: int, python: str, machine: str, *, root: Path, run: Path) -> None:
    """Have the helper of a bundle run, and stay for as long as the line stands."""
    socket_path = run / f"{digest[:16]}.sock"
    try:
        check_python(python, machine)
        os.umask(0o022)  # whatever root's own is: QEMU's user has to get to what the helper makes
        for folder in (root, run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        let_through(root.parent)
        ensure_helper(digest, size, root, socket_path)
    except (Refused, OSError) as failure:
        say(refused=str(failure))
        return
    with contextlib.suppress(OSError), knock(socket_path) as helper:
        say(ready=True)
        select.select((sys.stdin, helper), (), ())  # until the server, or the helper, has gone


def ensure_helper(digest: str, size: int, root: Path, socket_path: Path) -> None:
    """Have the helper answer; several servers come to a host at the same moment, with one bundle or with two."""
    folder, content = root / digest, b""
    while True:
        with one_at_a_time(socket_path.parent):
            if answers(socket_path):
                return
            if content:
                remove_unused(root, socket_path.parent)
                unpack(content, folder)
            if folder.is_dir():
                start(folder, socket_path)
                return
        content = take(digest, size)  # which takes as long as the line is slow: nobody waits for that


@contextlib.contextmanager
def one_at_a_time(run: Path) -> Iterator[None]:
    """Bring, start or remove what is brought, and nobody else does."""
    with (run / "arriving.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_python(python: str, machine: str) -> None:
    """Return when this Python runs the bundle."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if (here, platform.machine()) != (python, machine):
        raise Refused(
            f"the host's {sys.executable} is Python {here} on {platform.machine()}; the server's is {python} on "
            f"{machine}, and what runs on hosts must be the same: install Python {python}, or a server like the host"
        )


def let_through(folder: Path) -> None:
    """Let everybody pass through a folder of ours, whoever made it: disks lie in it that QEMU's user opens."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & stat.S_IXOTH:
        folder.chmod(mode | stat.S_IXOTH)


def take(digest: str, size: int) -> bytes:
    """Ask for the bundle."""
    say(send=True)
    content = sys.stdin.buffer.read(size)
    if hashlib.sha256(content).hexdigest() != digest:
        raise Refused("the bundle did not arrive whole")
    return content


def unpack(content: bytes, folder: Path) -> None:
    """Unpack the bundle; its folder is there once it is whole."""
    part = folder.with_suffix(".part")
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(part)  # noqa: S202 - packed by the server, and of the digest that it named
        part.rename(folder)
    except (OSError, tarfile.TarError) as failure:
        shutil.rmtree(part, ignore_errors=True)
        raise Refused(f"the helper does not fit into {folder.parent}: {failure}") from failure


def remove_unused(root: Path, run: Path) -> None:
    """Remove what earlier helpers left that run no more."""
    for folder in root.iterdir():
        if folder.suffix or not answers(run / f"{folder.name[:16]}.sock"):
            remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder as one: half a bundle would be taken for a whole one."""
    gone = folder.with_suffix(".gone")
    with contextlib.suppress(OSError):
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def start(folder: Path, socket_path: Path) -> None:
    """Start the helper, unless another one begins just now, and return when one answers.

    Where none does, the bundle goes and is brought anew: a power failure may have left files without their content.
    """
    log_path = socket_path.with_suffix(".log")
    with log_path.open("ab") as log:
        helper = subprocess.Popen(
            (sys.executable, "-m", "cumulet.line.run", str(socket_path)),
            cwd="/", env={"PYTHONPATH": str(folder), "PATH": PATH, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    until = time.monotonic() + PATIENCE_SECONDS
    while not answers(socket_path):
        if helper.poll() or time.monotonic() > until:
            helper.kill()
            remove(folder)
            said = log_path.read_text(errors="replace").strip().splitlines() or ["nothing"]
            raise Refused(f"the helper does not start on the host; it said: {said[-1]}")
        time.sleep(0.02)


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a host's programs are, whatever the shell of an SSH session says."""


def answers(socket_path: Path) -> bool:
    """Whether somebody listens at a socket."""
    with contextlib.suppress(OSError):
        knock(socket_path).close()
        return True
    return False


def knock(socket_path: Path) -> socket.socket:
    """Connect to a helper and hear its greeting; OSError when none answers."""
    helper = socket.socket(socket.AF_UNIX)
    try:
        helper.settimeout(PATIENCE_SECONDS)
        helper.connect(str(socket_path))
        if len(helper.recv(GREETING_BYTES, socket.MSG_WAITALL)) < GREETING_BYTES:
            raise ConnectionError("the helper ends")
    except OSError:
        helper.close()
        raise
    return helper


def say(**words: object) -> None:
    """Tell the server."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    arrive(sys.argv[1], int(sys.argv[2]), *sys.argv[3:5], root=Path(sys.argv[5]), run=Path(sys.argv[6]))
