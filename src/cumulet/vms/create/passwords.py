"""A password becomes its hash as it enters: nothing behind this line ever knows the clear text."""

from __future__ import annotations

from passlib.hash import sha512_crypt


def hash_password(password: str) -> str:
    """Hash as crypt(3) does with SHA-512 and a random salt: what every Linux guest reads in /etc/shadow."""
    hashed: str = sha512_crypt.using(rounds=5000).hash(password)
    return hashed
