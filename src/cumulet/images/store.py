"""The images this installation offers, kept as plain folders that an operator can look into.

    ROOT/micro            → .micro.3f9c…     a link to the version that counts
    ROOT/.micro.3f9c…/      image.json       what it is (`Image`)
                            image.qcow2      the disk

A new version is put together beside the old one and the link is then exchanged in one step, so that a crash at any
moment leaves the old image or the new one, never half of one. Writers take turns by a lock on the folder; readers
need none, and read `image.json` again only when it changed.
"""

from __future__ import annotations

import builtins
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cumulet.errors import AlreadyExists, NotFound
from cumulet.hypervisor import Firmware
from cumulet.ids import check_id, is_id
from cumulet.images.recipes.recipe import Package

BUILT = "recipe:"
"""How the origin of an image that we built begins; the recipe's digest follows."""
IMPORTED = "A disk image that was made elsewhere"
RESERVED = frozenset({".lock", ".parts"})


@dataclass(frozen=True, slots=True)
class Image:
    """One guest image. The file at `path` is the one with that checksum, or is gone when a new version came."""

    id: str
    name: str
    display_name: str
    description: str
    size_gib: int
    """The size of its disk as a guest sees it, rounded up: the smallest boot disk that can hold it."""
    format: str
    """`qcow2` or `raw`."""
    sha256: str
    """Of the file, so that copies on hosts can be named by what they hold."""
    origin: str
    """`recipe:` and the digest of the recipe, or where it was imported from."""
    firmware: Firmware = Firmware.BIOS
    """What its disk starts by."""
    cloud_init: bool = True
    """It takes whatever user data there is; one without takes shell scripts alone."""
    platform: str = "linux"
    aliases: tuple[str, ...] = ()
    """Further ids it answers to, because clients hard-code some."""
    installed_packages: tuple[Package, ...] = ()
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    path: Path = Path()

    @property
    def is_built(self) -> bool:
        """We built it ourselves."""
        return self.origin.startswith(BUILT)


class ImageStore:
    """The folder of images. Cheap to make, safe to share between threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.private_root = root.parent / "private-images"
        """Where images lie that projects took of their VMs; what they are is in the database.

        Not in the folder itself, which several installations may share.
        """
        self._read: dict[str, tuple[tuple[int, int, int], Image]] = {}
        """By name: which file was read, and the image that it tells of."""

    @property
    def parts(self) -> Path:
        """Where imports keep what they have so far; on the same file system, so that adding is a rename."""
        return self.root / ".parts"

    def private(self, id: uuid.UUID) -> Path:
        """Where the disk of a project's own image lies."""
        return self.private_root / f"{id}.qcow2"

    def private_ids(self) -> frozenset[uuid.UUID]:
        """The projects' own images of which there is a disk here, or what an interrupted copy left of one."""
        return frozenset(uuid.UUID(path.name.split(".")[0]) for path in self.private_root.glob("*.qcow2*"))

    def remove_private(self, id: uuid.UUID) -> None:
        """Remove the disk of a project's own image, if it is there, and what an interrupted copy left of it."""
        for path in self.private_root.glob(f"{id}.qcow2*"):
            path.unlink(missing_ok=True)

    def list(self) -> tuple[Image, ...]:
        """Return all images by id."""
        if not self.root.is_dir():
            return ()
        names = sorted(entry.name for entry in os.scandir(self.root) if not entry.name.startswith("."))
        return tuple(image for name in names if (image := self._load(name)))

    def find(self, id: str) -> Image:
        """Return the image with this id or alias.

        Raises NotFound: there is none.
        """
        named = self._load(id) if is_id(id) else None
        found = named or next((image for image in self.list() if id in image.aliases), None)
        if found is None:
            raise NotFound.named("image", id, self.ids())
        return found

    def path_of(self, sha256: str, *, called: str, private_id: uuid.UUID | None) -> Path | None:
        """Say where the disk of that content lies which was once `called` so, or was a project's own; None when it is here no more."""
        if private_id:
            path = self.private(private_id)
            return path if path.exists() else None
        named = self._load(called) if is_id(called) else None
        if named and named.sha256 == sha256:
            return named.path
        return next((image.path for image in self.list() if image.sha256 == sha256), None)

    def ids(self) -> builtins.list[str]:
        """Return what all images answer to: their ids, then their aliases."""
        images = self.list()
        return [image.id for image in images] + [alias for image in images for alias in image.aliases]

    def add(self, image: Image, disk: Path) -> Image:
        """Take over the file `disk` (it is moved) as this image; an older one of that id gives way to it.

        The aliases that the older one had are kept.

        Raises Invalid: the id is not one; AlreadyExists: the id or an alias belongs to another image.
        """
        check_id("id", image.id)
        with self._writing():
            older = self._load(image.id)
            kept = replace(
                image, aliases=tuple(dict.fromkeys([*image.aliases, *(older.aliases if older else ())]))
            )
            self._check_free(kept)
            self._exchange(kept, disk)
        return self.find(image.id)

    def remove(self, id: str) -> None:
        """Remove an image; disks of VMs that were made of it are on their hosts and stay.

        Raises NotFound: there is none with this id (aliases do not count here).
        """
        with self._writing():
            link = self.root / id
            if not is_id(id) or not link.is_symlink():
                raise NotFound.named("image", id, [image.id for image in self.list()])
            link.unlink()
            self._sweep()

    def set_aliases(self, id: str, aliases: tuple[str, ...]) -> Image:
        """Give an image exactly these further ids.

        Raises NotFound: there is no such image; Invalid: an alias is not an id; AlreadyExists: an alias belongs to another image.
        """
        with self._writing():
            image = replace(self.find(id), aliases=tuple(dict.fromkeys(aliases)))
            for alias in image.aliases:
                check_id("alias", alias)
            self._check_free(image)
            write_facts(image.path.parent, image)
        return self.find(image.id)

    def _load(self, name: str) -> Image | None:
        facts = self.root / name / "image.json"
        try:
            status = facts.stat()
            file = (status.st_dev, status.st_ino, status.st_mtime_ns)
            known = self._read.get(name)
            if known is None or known[0] != file:
                known = self._read[name] = (file, read_facts(facts))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return known[1]

    def _check_free(self, image: Image) -> None:
        taken = {
            name: other.id
            for other in self.list()
            for name in (other.id, *other.aliases)
            if other.id != image.id
        }
        for name in (image.id, *image.aliases):
            if name in taken:
                raise AlreadyExists(f"{name!r} is already an alias of the image {taken[name]!r}")

    def _exchange(self, image: Image, disk: Path) -> None:
        version = self.root / f".{image.id}.{uuid.uuid4().hex}"
        version.mkdir()
        kept = version / f"image.{image.format}"
        shutil.move(disk, kept)
        kept.chmod(0o444)
        write_facts(version, image)
        link = version.with_suffix(".link")
        link.symlink_to(version.name)
        link.replace(self.root / image.id)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what no link leads to: versions that were replaced, and what a crash left behind."""
        entries = [Path(entry.path) for entry in os.scandir(self.root) if entry.name not in RESERVED]
        counted = {
            entry.readlink().name
            for entry in entries
            if not entry.name.startswith(".") and entry.is_symlink()
        }
        for entry in entries:
            if not entry.name.startswith(".") or entry.name in counted:
                continue
            if entry.is_symlink():
                entry.unlink()
            else:
                shutil.rmtree(entry)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def read_facts(path: Path) -> Image:
    """Read `image.json`; its disk lies in the version's own folder, whatever the link to it leads to later."""
    facts = path.resolve(strict=True)
    image = msgspec.json.decode(facts.read_bytes(), type=Image)
    return replace(image, path=facts.parent / f"image.{image.format}")


def write_facts(folder: Path, image: Image) -> None:
    """Write `image.json` in one step. The path is left out: the folder may be moved."""
    facts = msgspec.to_builtins(image, enc_hook=str)
    del facts["path"]
    new = folder / "image.json.new"
    new.write_bytes(msgspec.json.format(msgspec.json.encode(facts)))
    new.replace(folder / "image.json")
