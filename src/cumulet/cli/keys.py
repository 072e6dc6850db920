"""The SSH keys at hand: the user's own, or the one that `cumulet up` made for a machine where nobody had any."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cumulet.errors import Invalid
from cumulet.settings import read_settings

MADE_KEY: Final = "ssh_key"
"""In the server's data directory; its public half beside it."""


def find_public_keys() -> list[Path]:
    """Name the files of the user's public keys, else of the one made for this machine."""
    own = [path for path in sorted(Path.home().glob(".ssh/*.pub")) if not path.name.endswith("-cert.pub")]
    made = made_key().with_suffix(".pub")
    return own or ([made] if os.access(made, os.R_OK) else [])


def find_identity() -> Path | None:
    """Name the private key made for this machine if it is the one to use; None leaves the choice to ssh."""
    made = made_key()
    return made if find_public_keys() == [made.with_suffix(".pub")] and os.access(made, os.R_OK) else None


def made_key() -> Path:
    """Name the private key that `cumulet up` makes."""
    return read_settings(os.environ).data_dir / MADE_KEY


def read_public_keys(paths: Iterable[Path]) -> list[str]:
    """Read the keys of files, one a line; Invalid for a file that holds none, above all for a private key."""
    return [key for path in paths for key in read_public_key_file(path)]


def read_public_key_file(path: Path, *, given_as: str = "--ssh-key") -> list[str]:
    """Read the keys of a file. Whether the cloud takes them, it says itself; Invalid says which word it was `given_as`."""
    try:
        lines = path.expanduser().read_text().splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise Invalid(f"{given_as}: cannot read the public key {str(path)!r}: {reason}") from None
    if any("PRIVATE KEY" in line for line in lines):
        raise Invalid(
            f"{given_as}: {str(path)!r} is a private key, and was not sent; give its public half, {str(path)!r}.pub"
        )
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise Invalid(f"{given_as}: {str(path)!r} contains no public key")
    return keys
