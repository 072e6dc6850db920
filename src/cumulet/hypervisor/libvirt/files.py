"""Files of the host: written whole or not at all, and the logs of serial consoles read from their ends."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from uuid import UUID


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that only root may read so that it is there whole or not at all; its earlier self gives way."""
    part = part_of(path)
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    part.rename(path)


def remove(path: Path) -> None:
    """Remove a file, and what an interrupted writing left of it."""
    path.unlink(missing_ok=True)
    part_of(path).unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """Where a file grows until it is whole."""
    return path.with_name(f"{path.name}.part")


def ids_in(directory: Path, suffix: str) -> frozenset[UUID]:
    """The ids that files in a directory are named after; a file that somebody else put there is passed over."""
    found = set()
    for path in directory.glob(f"*{suffix}"):
        with suppress(ValueError):
            found.add(UUID(path.stem))
    return frozenset(found)


def read_log(path: Path, max_bytes: int) -> bytes:
    """The newest bytes of a log that virtlogd writes and turns over to `.0` when it is large."""
    newest = read_end(path, max_bytes)
    if len(newest) < max_bytes:
        newest = read_end(path.with_name(f"{path.name}.0"), max_bytes - len(newest)) + newest
    return newest


def read_end(path: Path, max_bytes: int) -> bytes:
    """The last bytes of a file; `b""` when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - max_bytes))
            return file.read(max_bytes)
    except FileNotFoundError:
        return b""


def remove_log(path: Path) -> None:
    """Remove a log with all that it was turned over to."""
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink(missing_ok=True)
