"""Files that a host is given, or gives, over the line: they lie in a folder of their own until whoever asked is done with them."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Final

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.file_content import give_file, take_file

NAME: Final = re.compile(r"[0-9a-f-]{32,64}")
"""A digest or an id: whatever else somebody asked for could lead out of the folder."""


def spool_of(state_dir: Path) -> Path:
    """Place the folder."""
    return state_dir / "spool"


class Spool:
    """The folder on one host; the files in it are named by digests and ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def receive(self, name: str) -> socket.socket:
        """Open a line that takes a file, whole or not at all; its earlier self gives way."""
        place = self._place(name)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

        def keep(part: Path) -> None:
            part.rename(place)

        return take_file(place, keep)

    def send(self, name: str) -> socket.socket:
        """Open a line that gives a file; HypervisorError when it is not there."""
        try:
            return give_file(self._place(name))
        except FileNotFoundError:
            raise HypervisorError(f"{name} is not on the host any more") from None

    def drop(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._place(name).unlink(missing_ok=True)

    def _place(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise HypervisorError(f"{name!r} is no name of a file on its way")
        return self._folder / name
