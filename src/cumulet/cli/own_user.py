"""The user that the server runs as on real hosts, where that is possible: by root, from files that this user may read."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import cumulet
from cumulet.doctor.calls import ensure_account
from cumulet.errors import Unavailable
from cumulet.settings import HELPED, LIBVIRT, Settings, default_fabric

USER: Final = "cumulet"
HYPERVISOR: Final = f"{HELPED}/run/cumulet/host/helper.sock"
FIRST_OPEN_PORT: Final = 1024
"""Below it only who has a right to listens."""
CLOSED: Final = 'for file; do test -r "$file" || { echo "$file"; exit; }; done'


def make_user(settings: Settings) -> str:
    """Have the server's user be there, and say why the server cannot run as it; `""` when it can."""
    try:
        ensure_account(USER, settings.data_dir)
    except Unavailable as failure:
        return failure.message
    return closed_to_user(settings)


def is_user_there() -> bool:
    """Whether there is that user yet."""
    with suppress(KeyError):
        return bool(pwd.getpwnam(USER))
    return False


def with_user(settings: Settings) -> Settings:
    """Have a helper do what needs root, and the server run as its user, unless something is in the way."""
    if settings.hypervisor != LIBVIRT or os.geteuid() != 0 or closed_to_user(settings):
        return settings
    is_usual = settings.fabric == default_fabric(settings.hypervisor)
    fabric = default_fabric(HYPERVISOR) if is_usual else settings.fabric
    return replace(settings, hypervisor=HYPERVISOR, fabric=fabric)


def closed_to_user(settings: Settings) -> str:
    """Say what keeps the server's user from running it; `""` for nothing."""
    look = (*as_user(settings), "sh", "-c", CLOSED, "sh", *map(str, needed(settings)))
    looked = subprocess.run(look, capture_output=True, text=True, check=False)
    if looked.returncode:
        return f"nothing can run as the user {USER}: {looked.stderr.strip()}"
    closed = looked.stdout.strip()
    return f"the user {USER} may not read {closed}" if closed else ""


def needed(settings: Settings) -> Iterator[Path]:
    """What the server reads besides what is its own: itself, and what its settings name."""
    yield from (Path(sys.executable), Path(cumulet.__file__))
    named = (
        settings.catalogue,
        settings.power_command,
        *((settings.tls.certificate, settings.tls.key) if settings.tls else ()),
        settings.oidc.secret_file if settings.oidc else None,
    )
    own = (settings.data_dir, settings.shared_dir)
    yield from (path for path in named if path and not any(path.is_relative_to(folder) for folder in own))
    yield from (next(place for place in folder.parents if place.is_dir()) for folder in own)


def as_user(settings: Settings) -> tuple[str, ...]:
    """Write how a command runs as the server's user: with no right but to listen where the settings say."""
    listens = ("--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service")
    rights = listens if settings.port < FIRST_OPEN_PORT else ()
    return ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--no-new-privs", *rights)
