"""What a recipe is: how one guest image is made on this machine, from the packages of Debian and nothing else.

A recipe's digest covers its own sources, so that an image is rebuilt when, and only when, somebody changed how
it is made. Newer packages alone do not rebuild it: `cumulet image build` does when it is asked to.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cumulet.errors import CumuletError

Progress = Callable[[str, float], None]
"""Told the step under way in a few words and the fraction (0 to 1) of the whole that is done."""

HERE = Path(__file__).parent
MIB = 1 << 20
GIB = 1 << 30


class BuildFailed(CumuletError):
    """A program that builds an image did not do its work."""


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package inside an image."""

    name: str
    version: str
    description: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image that we build ourselves. `write_disk` fills a qcow2 file and names what is installed in it."""

    id: str
    name: str
    display_name: str
    description: str
    size_gib: int
    folder: Path
    write_disk: Callable[[Path, Progress], tuple[Package, ...]] = field(repr=False)
    platform: str = "linux"
    cloud_init: bool = True
    """Cloud-init reads its seed."""

    def digest(self) -> str:
        """Hash what decides about the disk: the recipe's own folder and the modules that all recipes share."""
        own = ((path.relative_to(self.folder), path) for path in self.folder.rglob("*") if is_source(path))
        shared = ((path.relative_to(HERE), path) for path in HERE.glob("*.py"))
        whole = hashlib.sha256()
        for name, path in [*sorted(own), *sorted(shared)]:
            whole.update(f"{name}\0{path.stat().st_size}\0".encode())
            whole.update(path.read_bytes())
        return whole.hexdigest()

    def build(self, into: Path, progress: Progress) -> tuple[Package, ...]:
        """Write the image to the file `into` (qcow2). Needs root; takes seconds (micro) to a minute (Debian)."""
        return self.write_disk(into, progress)


def is_source(path: Path) -> bool:
    """Whether a file of a recipe's folder is part of the recipe: caches of the interpreter are not."""
    return path.is_file() and "__pycache__" not in path.parts


def copy_rootfs(source: Path, root: Path) -> None:
    """Copy our own files into a tree of a guest; those that start with `#!` become executable."""
    for path in (path for path in sorted(source.rglob("*")) if path.is_file()):
        target = root / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755 if path.read_bytes().startswith(b"#!") else 0o644)


def run(*command: str | Path, stdin: bytes = b"", cwd: Path | None = None) -> bytes:
    """Run a program and return what it printed.

    Raises BuildFailed: with the program's last words, when it is missing or its exit status is not 0.
    """
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, check=False, cwd=cwd)
    except FileNotFoundError as error:
        raise BuildFailed(f"{command[0]} is not installed; `cumulet doctor` says how to get it") from error
    if done.returncode != 0:
        last_words = done.stderr.decode(errors="replace").strip()[-2000:]
        raise BuildFailed(f"{command[0]} ended with status {done.returncode}: {last_words}")
    return done.stdout
