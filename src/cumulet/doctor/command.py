"""Running the host's own programs: one place that sets a time limit, and that turns a failure into words.

Everything the doctor does to a host goes through programs that its operator knows (ovs-vsctl, nft, ip, apt-get), so
that a failed step can be repeated by hand exactly as it stands in the message.
"""

from __future__ import annotations

import os
import shlex
import subprocess

from cumulet.errors import Unavailable

SECONDS = 20.0


class CommandFailed(Unavailable):
    """A program of the host failed, is missing, or did not end in its time."""


def output_of(*argv: str, seconds: float = SECONDS, stdin: str = "") -> str:
    """Run a program and return what it printed; CommandFailed carries the command line and its last words."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
    except FileNotFoundError as missing:
        raise CommandFailed(f"{argv[0]} is not installed") from missing
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(f"not finished after {seconds:g} s: {shlex.join(argv)}") from late
    if done.returncode != 0:
        words = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        raise CommandFailed(f"{shlex.join(argv)}: {words}")
    return done.stdout


def require_root(doing: str) -> None:
    """CommandFailed for whom is not root; `doing` is what they wanted, as in "preparing a host"."""
    if os.geteuid() != 0:
        raise CommandFailed(f"{doing} needs root: run it again with sudo")


def succeeds(*argv: str, seconds: float = SECONDS) -> bool:
    """Whether a program is there, ends in its time and is content."""
    try:
        output_of(*argv, seconds=seconds)
    except CommandFailed:
        return False
    return True
