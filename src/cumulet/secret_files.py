"""Files with secrets that are made at the first use: for nobody else's eyes, whole or not at all, and once."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def make_once(path: Path, content: bytes) -> None:
    """Write a file that is not there yet; of several servers that make one at once, the first one's counts."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        path.hardlink_to(part)
    part.unlink()
