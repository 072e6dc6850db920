"""Cuts a host's power by a command of the operator's, who alone knows the board, socket or rack that does it."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Final

from cumulet.errors import Invalid, redacted
from cumulet.vms import PowerFailed, PowerOff

SECONDS: Final = 30
"""How long it may take to see that the power is off; less than a worker's lease."""
MOST_WORDS: Final = 500


def power_off_by(command: Path | None) -> PowerOff | None:
    """Give what cuts a host's power by this command, None for none; Invalid when nobody could run it."""
    if command is None:
        return None
    if not (command.is_file() and os.access(command, os.X_OK)):
        raise Invalid.field("CUMULET_POWER_COMMAND", str(command), "a file that can be executed")
    return partial(cut, command)


def cut(command: Path, host: str) -> str:
    """Run `COMMAND off HOST` and give its words when it ends well: then it has seen that the power is off; PowerFailed otherwise.

    Its words are all that it prints. Of the server's environment it gets the path alone: what it needs to know is its own.
    """
    if host.partition(".")[0] == os.uname().nodename.partition(".")[0]:
        raise PowerFailed("it is the machine that this server is on")
    with subprocess.Popen(
        [command, "off", host],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ.get("PATH", os.defpath)},
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # it is not reaped yet, so nobody else has its number
            raise PowerFailed(f"{command} took longer than {SECONDS} s") from None
    words = redacted(" ".join(printed.decode(errors="replace").split()))[:MOST_WORDS]
    if process.returncode != 0:
        raise PowerFailed(f"{command} ended with {process.returncode}: {words}")
    return words
