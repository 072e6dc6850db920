"""What an owner's start script is: shell commands, or any other thing that cloud-init takes as user data. Pure.

People paste what they gave their last cloud, often packed by its tools: gzip, base64, MIME, text with a byte order
mark. It is unpacked here and told apart as cloud-init does it, by how it begins, so that a guest gets each part as
what it is and nothing is run by a shell that is no script.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from typing import Final

from cumulet.errors import Invalid

FIELD: Final = "startScript"
MOST_UNPACKED: Final = 256 * 1024
"""Bytes that a packed one may come to."""
SCRIPT: Final = "text/x-shellscript"
BEGINNINGS: Final[Mapping[bytes, str]] = {
    b"#!": SCRIPT,
    b"#cloud-config-archive": "text/cloud-config-archive",
    b"#cloud-config-jsonp": "text/cloud-config-jsonp",
    b"#cloud-config": "text/cloud-config",
    b"#cloud-boothook": "text/cloud-boothook",
    b"#include-once": "text/x-include-once-url",
    b"#include": "text/x-include-url",
    b"#part-handler": "text/part-handler",
    b"## template: jinja": "text/jinja2",
}
"""By what cloud-init knows them; longer ones come before those that they begin with."""
TYPES: Final = frozenset(BEGINNINGS.values()) | {
    f"{SCRIPT}-per-{when}" for when in ("boot", "instance", "once")
}
PACKED_TYPES: Final = frozenset(
    f"application/{name}"
    for name in ("gzip", "gzip-compressed", "gzipped", "x-gunzip", "x-gzip", "x-gzip-compressed")
)
"""Of parts that cloud-init unpacks itself."""
VAGUE_TYPES: Final = frozenset({"text/plain", "text/x-not-multipart", "application/octet-stream", SCRIPT})
"""Of parts whose beginning says what they are."""
KEPT_HEADERS: Final = ("Merge-Type", "X-Merge-Type", "Launch-Index")
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
GZIP: Final = b"\x1f\x8b"
CONTAINER: Final = re.compile(rb"(multipart|message)/", re.IGNORECASE)
MOST_CONTAINERS: Final = 16
"""In a MIME message: each costs the parser time with every line in it."""
MIME_HEADER: Final = re.compile(rb"\s*(from |content-type:|mime-version:)", re.IGNORECASE)
NEARLY: Final = re.compile(rb"\s*#+\s*(cloud-|upstart-job)", re.IGNORECASE)
"""How what is meant for cloud-init begins, and no shell script."""
LONGEST_BEGINNING: Final = 30
ACCEPTED: Final = (
    "shell commands, or user data that cloud-init knows: a MIME multipart message, or text that begins with "
    + ", ".join(beginning.decode() for beginning in BEGINNINGS)
)


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of user data."""

    type: str
    """Its MIME type, by which cloud-init chooses what to do with it."""
    content: bytes
    file_name: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """What else its sender told cloud-init of it."""


def parts_of(start_script: str) -> tuple[Part, ...]:
    """Take a start script apart; shell commands are one part of the type `SCRIPT`, with or without a `#!`.

    Raises Invalid: it is packed and damaged, or cloud-init would pass over a part of it.
    """
    content = unpacked(start_script.encode())
    if is_mime(content):
        return tuple(mime_parts(content))
    kind = type_of(content)
    if not kind and NEARLY.match(content):
        first = content.split(maxsplit=1)[0].decode()[:LONGEST_BEGINNING]
        raise Invalid.field(FIELD, f"text that begins with {first}", ACCEPTED)
    return (Part(kind or SCRIPT, content),)


def script_in(parts: tuple[Part, ...]) -> bytes | None:
    """Give the shell commands that are all there is, with a Unix's line ends; None when there is anything else."""
    if [part.type for part in parts] != [SCRIPT]:
        return None
    return unix_lines(parts[0].content)


def unix_lines(text: bytes) -> bytes:
    """Undo line ends of Windows when the first line has one, as cloud-init decides it."""
    first_line = text.partition(b"\n")[0]
    return text.replace(b"\r\n", b"\n").removesuffix(b"\r") if first_line.endswith(b"\r") else text


def unpacked(content: bytes) -> bytes:
    """Undo base64 and gzip, and take the byte order mark away; Invalid when what comes out is no text."""
    packed = without_base64(content)
    text = (gunzipped(packed) if packed.startswith(GZIP) else packed).removeprefix(BYTE_ORDER_MARK)
    try:
        text.decode()
    except UnicodeDecodeError:
        raise Invalid.field(FIELD, "packed data that is no text", ACCEPTED) from None
    if b"\0" in text:
        raise Invalid.field(FIELD, "(not shown)", "text without NUL characters")
    return text


def without_base64(content: bytes) -> bytes:
    """Undo base64 where it hides something known: a word of a shell may look like base64 as well."""
    try:
        decoded = base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        return content
    begins = decoded.removeprefix(BYTE_ORDER_MARK)
    return decoded if begins.startswith(GZIP) or type_of(begins) or is_mime(begins) else content


def gunzipped(packed: bytes) -> bytes:
    """Undo gzip within bounds."""
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = unpacking.decompress(packed, MOST_UNPACKED)
    except zlib.error:
        raise Invalid.field(FIELD, "damaged gzip data", ACCEPTED) from None
    if not unpacking.eof:
        accepted = f"gzip data that is whole and comes to at most {MOST_UNPACKED} bytes"
        raise Invalid.field(FIELD, f"{len(packed)} bytes of gzip data", accepted)
    return content


def type_of(content: bytes) -> str:
    """Tell by its beginning what a text is to cloud-init; `""` for anything else."""
    begins = content.lstrip().lower()
    return next((kind for beginning, kind in BEGINNINGS.items() if begins.startswith(beginning)), "")


def is_mime(content: bytes) -> bool:
    """Whether it is a MIME message: a script may well send one."""
    return MIME_HEADER.match(content) is not None and b"content-type:" in content[:4096].lower()


def mime_parts(content: bytes) -> Iterator[Part]:
    """Take a MIME message apart, however its parts are nested and encoded."""
    if len(CONTAINER.findall(content)) > MOST_CONTAINERS:
        raise Invalid.field(
            FIELD, "a MIME message of many messages", f"at most {MOST_CONTAINERS} in one another"
        )
    leaves = [leaf for leaf in message_from_bytes(content.lstrip()).walk() if is_leaf(leaf)]
    if not leaves:
        raise Invalid.field(FIELD, "a MIME message without parts", ACCEPTED)
    yield from map(mime_part, leaves)


def is_leaf(message: Message) -> bool:
    """Whether a message is a part and no container of parts."""
    return not message.is_multipart() and message.get_content_maintype() != "multipart"


def mime_part(leaf: Message) -> Part:
    """Take over one part; Invalid when cloud-init would pass over it."""
    content = leaf.get_payload(decode=True)
    content = content if isinstance(content, bytes) else b""
    declared = leaf.get_content_type()
    kind = (type_of(content) if declared in VAGUE_TYPES else "") or declared
    if kind not in TYPES | PACKED_TYPES:
        known = ", ".join(sorted(TYPES))
        raise Invalid.field(
            FIELD, f"a MIME part of type {declared}", f"parts of types that cloud-init knows: {known}"
        )
    file_name = leaf.get_filename() or ""
    headers = tuple((name, " ".join(str(leaf[name]).split())) for name in KEPT_HEADERS if name in leaf)
    if not all(text.isprintable() for text in (file_name, *(value for _, value in headers))):
        raise Invalid.field(FIELD, "a MIME part with unprintable characters in its head", "printable ones")
    return Part(kind, content, file_name, headers)
