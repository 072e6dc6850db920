"""Public SSH keys as people paste them: understood to the last byte, because they end up in a guest's authorized_keys.

A line that sshd would not read locks its owner out of a VM that they waited for; a second line or an option hidden in
one would let somebody else in. So the binary part is taken apart (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4, OpenSSH's
PROTOCOL.u2f) and the line is written anew from what was understood. Nothing of a refused text is repeated in the
error: people do paste private keys.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cumulet.errors import Invalid

LONGEST: Final = 16_384
LONGEST_COMMENT: Final = 255
FEWEST_RSA_BITS: Final = 2048
ACCEPTED: Final = "one line as in ~/.ssh/id_ed25519.pub: 'ssh-ed25519 AAAA… comment'"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that sshd will read."""

    type: str
    body: str
    """The binary part in base64."""
    comment: str

    @property
    def line(self) -> str:
        """As in an authorized_keys file."""
        return f"{self.type} {self.body} {self.comment}".rstrip()

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it."""
        digest = hashlib.sha256(base64.b64decode(self.body)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def parse_public_key(text: str, field: str) -> PublicKey:
    """Understand one public key; Invalid tells what is wrong with `field`, without repeating the text."""
    line = text.strip()
    _refuse_what_is_no_line(line, field)
    kind, _, rest = line.partition(" ")
    if kind not in _FORMS:
        raise Invalid.field(field, _shown(kind), f"{ACCEPTED}; known types are {', '.join(_FORMS)}")
    body, _, comment = rest.strip().partition(" ")
    try:
        blob = base64.b64decode(body, validate=True)
        named, *parts = _parts(blob)
    except ValueError:
        raise Invalid.field(field, f"an incomplete {kind} key", ACCEPTED) from None
    if named != kind.encode() or not _FORMS[kind](parts):
        raise Invalid.field(field, f"a damaged or too short {kind} key", ACCEPTED)
    comment = comment.strip()
    if len(comment) > LONGEST_COMMENT:
        raise Invalid.field(field, f"a comment of {len(comment)} characters", f"at most {LONGEST_COMMENT}")
    return PublicKey(type=kind, body=base64.b64encode(blob).decode(), comment=comment)


def check_public_key(text: str, field: str) -> str:
    """Give the key as the one line that goes into authorized_keys; Invalid as parse_public_key."""
    return parse_public_key(text, field).line


def _refuse_what_is_no_line(line: str, field: str) -> None:
    if "PRIVATE KEY" in line or line.startswith(("PuTTY-User-Key-File", "b3BlbnNzaC1rZXk")):
        raise Invalid.field(
            field, "a private key", f"the public one, {ACCEPTED}; treat that private key as compromised"
        )
    if not line:
        raise Invalid.field(field, "", ACCEPTED)
    if len(line) > LONGEST:
        raise Invalid.field(field, f"a text of {len(line)} characters", f"{ACCEPTED}, of at most {LONGEST}")
    if strange := next((one for one in line if not one.isprintable()), ""):
        found = "a text of several lines" if strange in "\r\n" else f"a text with U+{ord(strange):04X} in it"
        raise Invalid.field(field, found, f"{ACCEPTED}, with plain spaces")


def _shown(first_word: str) -> str:
    """Name an unknown type, and only a type: any other text may be part of a secret."""
    is_type = first_word.startswith(("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"))
    return first_word if is_type else "a text that does not begin with a key type"


def _parts(blob: bytes) -> list[bytes]:
    """Split SSH's wire format: each part is led by its length in four bytes."""
    parts = []
    while blob:
        end = 4 + int.from_bytes(blob[:4], "big")
        if len(blob) < end:
            raise ValueError("the key ends too early")
        parts.append(blob[4:end])
        blob = blob[end:]
    return parts


def _is_ed25519(parts: list[bytes]) -> bool:
    return [len(part) for part in parts] == [32]


def _is_rsa(parts: list[bytes]) -> bool:
    """Exponent and modulus; under 2048 bits sshd refuses it on many distributions."""
    return len(parts) == 2 and int.from_bytes(parts[1], "big").bit_length() >= FEWEST_RSA_BITS  # noqa: PLR2004 - so many


def _is_ecdsa(curve: str, coordinate_bytes: int) -> Callable[[list[bytes]], bool]:
    def is_point(parts: list[bytes]) -> bool:
        uncompressed = [part[:1] for part in parts[1:]] == [b"\x04"]
        return parts[:1] == [curve.encode()] and uncompressed and len(parts[1]) == 1 + 2 * coordinate_bytes

    return is_point


def _is_on_token(is_key: Callable[[list[bytes]], bool]) -> Callable[[list[bytes]], bool]:
    """A key on a security token is one more part: the application it was made for."""
    return lambda parts: is_key(parts[:-1]) and parts[-1] != b""


_FORMS: Final[Mapping[str, Callable[[list[bytes]], bool]]] = {
    "ssh-ed25519": _is_ed25519,
    "ssh-rsa": _is_rsa,
    "ecdsa-sha2-nistp256": _is_ecdsa("nistp256", 32),
    "ecdsa-sha2-nistp384": _is_ecdsa("nistp384", 48),
    "ecdsa-sha2-nistp521": _is_ecdsa("nistp521", 66),
    "sk-ssh-ed25519@openssh.com": _is_on_token(_is_ed25519),
    "sk-ecdsa-sha2-nistp256@openssh.com": _is_on_token(_is_ecdsa("nistp256", 32)),
}
