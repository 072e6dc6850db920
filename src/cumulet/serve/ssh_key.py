"""The server's key for SSH to its hosts: made at the first use, for nobody else's eyes."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)


@dataclass(frozen=True, slots=True)
class SshKey:
    """A key pair of which the private half is in a file."""

    path: Path
    public: str
    """As a line of authorized_keys."""


def ensure_ssh_key(folder: Path) -> SshKey:
    """Give the server's key, made now unless there is one."""
    path = folder / "hosts.key"
    if not path.exists():
        _make(path)
    private = load_ssh_private_key(path.read_bytes(), password=None)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return SshKey(path, f"{public} cumulet@{os.uname().nodename}")


def _make(path: Path) -> None:
    """Write a new key, whole or not at all; of several servers that make one at once, the first one's counts."""
    content = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        path.hardlink_to(part)
    part.unlink()
