"""Whether this machine is being shut down: then its own system ends guests, as Debian's `libvirt-guests` does."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

SYSTEMD: Final = Path("/run/systemd/system")
"""There where systemd is the machine's init."""
SECONDS: Final = 5.0
GOES_DOWN: Final = "stopping"


def goes_down() -> bool:
    """Ask systemd, where there is one; who gets no answer takes it for no."""
    if not SYSTEMD.is_dir():
        return False
    try:
        argv = ("systemctl", "is-system-running")
        told = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return told.stdout.strip() == GOES_DOWN
