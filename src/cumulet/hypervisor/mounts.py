"""Whether something is mounted where a disk pool is to lie; otherwise its disks would fill what lies below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class NotMounted(Exception):
    """A path is in no file system of its own; says why."""


def holders_of(*paths: Path) -> dict[int, str]:
    """Tell which file systems have a holder already, by device."""
    return {device_of(path): str(path) for path in paths}


def find_device(path: Path, holders: Mapping[int, str]) -> int:
    """Find the device of a file system that is mounted at a path; NotMounted when it is not there or another's."""
    try:
        device = device_of(path)
    except OSError as error:
        raise NotMounted(error.strerror) from error
    if device in holders:
        raise NotMounted(f"it is on the file system of {holders[device]}")
    return device


def device_of(path: Path) -> int:
    """Tell the file system that a path is in."""
    return path.stat().st_dev
