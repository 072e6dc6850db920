"""The server's key for SSH to its hosts: made at the first use, for nobody else's eyes."""

from __future__ import annotations

import os
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

from cumulet.secret_files import make_once


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
        key = Ed25519PrivateKey.generate()
        make_once(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    private = load_ssh_private_key(path.read_bytes(), password=None)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return SshKey(path, f"{public} cumulet@{os.uname().nodename}")
