"""The user that the server runs as: its account, and which files are its own.

What the server's data directory holds for the host itself (disks and copies of images, which QEMU opens) stays root's.
"""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from cumulet.doctor.command import output_of

HOSTS_OWN: Final = frozenset({"host", "helper"})
"""What in a data directory is the host's."""


def ensure_account(name: str, home: Path) -> pwd.struct_passwd:
    """Find an account by its name; made now unless it is there, for a service: nobody can log in as it."""
    with suppress(KeyError):
        return pwd.getpwnam(name)
    output_of(
        "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(home),
        "--shell", "/usr/sbin/nologin", name,
    )  # fmt: skip
    return pwd.getpwnam(name)


def hand_over(folder: Path, uid: int, gid: int) -> None:
    """Give a user a data directory with all in it that is root's and not the host's; made now unless it is there.

    Links are not followed, and a file that has another name elsewhere stays root's.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    for place, folders, files, descriptor in os.fwalk(folder):
        if place == str(folder):
            folders[:] = [name for name in folders if name not in HOSTS_OWN]
        for name in (".", *folders, *files):
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if found.st_uid == 0 and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):
                os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
