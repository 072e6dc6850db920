"""Secrets that have to be read again are sealed in the database: who has a copy of it, but not the key file, reads none.

The file has a key a line. The first seals, all of them open: a new line above the others is a new key, with which each
start seals all that is there anew, and then the others can go.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from cumulet.errors import Invalid
from cumulet.secret_files import make_once

KEY_FILE: Final = "secrets.key"


class Unopenable(Exception):
    """No key of the file opens what is sealed: the file is another one, or a line of it has gone."""


class Seal:
    """The keys of one cloud; several threads and servers may use them."""

    def __init__(self, folder: Path) -> None:
        """Read the keys, made now unless there are some; Invalid when the file has something else."""
        self._path = folder / KEY_FILE
        if not self._path.exists():
            make_once(self._path, Fernet.generate_key() + b"\n")
        self._keys = self._read()

    def closed(self, secret: bytes) -> bytes:
        """Seal a secret."""
        return self._keys.encrypt(secret)

    def opened(self, sealed: bytes) -> bytes:
        """Give what was sealed; Unopenable. Another server may have been given a new key since this one read the file."""
        try:
            return self._keys.decrypt(sealed)
        except InvalidToken:
            self._keys = self._read()
        try:
            return self._keys.decrypt(sealed)
        except InvalidToken:
            raise Unopenable(f"no key in {self._path} opens it") from None

    def _read(self) -> MultiFernet:
        try:
            return MultiFernet([Fernet(line) for line in self._path.read_bytes().split()])
        except ValueError:
            raise Invalid(f"{self._path} has something else than keys, each on a line of its own") from None
