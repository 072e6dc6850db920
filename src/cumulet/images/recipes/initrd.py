"""What a kernel needs before it can see its disk: its modules in loading order, packed as a cpio archive.

Written here because the archive holds a device node and files of our own making, and neither root's mknod nor the
cpio program is needed for a format of one header.
"""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

from cumulet.images.recipes.recipe import BuildFailed

TRAILER = "TRAILER!!!"


class Cpio:
    """An archive in the kernel's `newc` format; folders are made as files ask for them."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._names: set[str] = set()

    def add_folder(self, name: str) -> None:
        """Add a folder and those above it; one that is there already is left alone."""
        for folder in [*reversed(PurePosixPath(name).parents), PurePosixPath(name)]:
            if str(folder) not in self._names | {"."}:
                self._add(str(folder), stat.S_IFDIR | 0o755)

    def add_file(self, name: str, content: bytes, *, mode: int = 0o644) -> None:
        """Add a regular file."""
        self.add_folder(str(PurePosixPath(name).parent))
        self._add(name, stat.S_IFREG | mode, content)

    def add_character_device(self, name: str, major: int, minor: int) -> None:
        """Add a device node, readable by root alone."""
        self.add_folder(str(PurePosixPath(name).parent))
        self._add(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def finished(self) -> bytes:
        """Return the whole archive with its trailer."""
        return bytes(self._bytes) + entry(TRAILER, mode=0, number=0)

    def _add(self, name: str, mode: int, content: bytes = b"", *, device: tuple[int, int] = (0, 0)) -> None:
        self._names.add(name)
        self._bytes += entry(name, mode=mode, number=len(self._names), content=content, device=device)


def entry(
    name: str, *, mode: int, number: int, content: bytes = b"", device: tuple[int, int] = (0, 0)
) -> bytes:
    """Return one member of a `newc` archive: magic, 13 fields of 8 hex digits, name and content, each padded to 4."""
    encoded = name.encode() + b"\0"
    owner = group = modified = check = 0
    links = 1
    fields = (
        number, mode, owner, group, links, modified, len(content), 0, 0, *device, len(encoded), check,
    )  # fmt: skip
    header = b"070701" + b"".join(b"%08X" % value for value in fields)
    return padded(header + encoded) + padded(content)


def padded(content: bytes) -> bytes:
    """Fill up to a multiple of four bytes."""
    return content + bytes(-len(content) % 4)


def modules_in_order(folder: Path, wanted: tuple[str, ...]) -> list[str]:
    """Return the module files (relative to `folder`, a `lib/modules/VERSION`) for `wanted`, dependencies first.

    Modules that are built into the kernel are left out.

    Raises BuildFailed: this kernel has no module of such a name.
    """
    dependencies = dict(
        parse_dependencies(line) for line in (folder / "modules.dep").read_text().splitlines()
    )
    files = {module_name(file): file for file in dependencies}
    built_in = {module_name(line) for line in (folder / "modules.builtin").read_text().splitlines()}
    ordered: dict[str, None] = {}

    def add(file: str) -> None:
        if file not in ordered:
            for needed in dependencies[file]:
                add(needed)
            ordered[file] = None

    for name in (word.replace("-", "_") for word in wanted):
        if name not in built_in | files.keys():
            raise BuildFailed(f"the kernel of {folder.name} has no module {name}")
        if name not in built_in:
            add(files[name])
    return list(ordered)


def parse_dependencies(line: str) -> tuple[str, list[str]]:
    """Read a line of `modules.dep`: a file and the files that it needs."""
    file, _, needed = line.partition(":")
    return file, needed.split()


def module_name(file: str) -> str:
    """Return the name that modprobe knows a module file by."""
    return PurePosixPath(file).name.partition(".ko")[0].replace("-", "_")
