"""What is brought to a host: our own code that runs there, and the libraries that it needs, as this server has them.

A bundle is known by its digest, so a helper is always of exactly the version of whoever asks it. One of the libraries
is compiled: a host's Python must be of the same minor version and machine as the server's.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import platform
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

OURS: Final = ("cumulet.errors", "cumulet.doctor", "cumulet.hypervisor", "cumulet.line")
LIBRARIES: Final = ("msgspec", "pycdlib", "structlog")
LEFT_OUT: Final = ("__pycache__", "memory")
"""Folders that no host needs."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A compressed archive of what a host's helper needs."""

    content: bytes
    python: str
    """The version of Python that it runs on: `3.11`."""
    machine: str
    """`x86_64`"""

    @property
    def digest(self) -> str:
        """What it is known by."""
        return hashlib.sha256(self.content).hexdigest()


@cache
def make_bundle() -> Bundle:
    """Pack what this server runs on; the same files make the same bundle."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=6) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, path in sorted(files()):
            entry = tarfile.TarInfo(name)
            content = path.read_bytes()
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return Bundle(packed.getvalue(), f"{sys.version_info.major}.{sys.version_info.minor}", platform.machine())


def files() -> Iterator[tuple[str, Path]]:
    """Name all files of a bundle, and where they are."""
    yield "cumulet/__init__.py", origin("cumulet")
    for module in (*OURS, *LIBRARIES):
        path = origin(module)
        if path.name != "__init__.py":
            yield f"{module.replace('.', '/')}.py", path
            continue
        for file in path.parent.rglob("*"):
            inside = file.relative_to(path.parent)
            if file.is_file() and not set(inside.parts) & set(LEFT_OUT):
                yield f"{module.replace('.', '/')}/{inside}", file


def origin(module: str) -> Path:
    """Find the file of a module that is installed here."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{module} is not installed", name=module)
    return Path(spec.origin)
