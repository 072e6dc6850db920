"""Reads the NoCloud disk of a guest as the guest does."""

import email
import io
from collections.abc import Iterator
from email.message import Message

from pycdlib import PyCdlib


def read_seed(image: bytes) -> tuple[str, dict[str, str]]:
    """Give a seed's volume label and its files by name."""
    disk = PyCdlib()
    disk.open_fp(io.BytesIO(image))
    label = disk.pvd.volume_identifier.decode().strip()
    files = {name: _read_file(disk, name) for name in ("meta-data", "user-data")}
    disk.close()
    return label, files


def _read_file(disk: PyCdlib, name: str) -> str:
    content = io.BytesIO()
    disk.get_file_from_iso_fp(content, rr_path=f"/{name}")
    return content.getvalue().decode()


def parts_read(user_data: str) -> Iterator[tuple[Message, str]]:
    """Take user data apart as cloud-init does it."""
    for part in email.message_from_string(user_data).walk():
        if part.get_content_maintype() != "multipart":
            yield part, part.get_payload(decode=True).decode()
