"""Copies of images on the host that Cumulet runs on, under the disks that are based on them.

On the image store's own file system a copy is a hard link, made in no time. Elsewhere a thread copies into
`SHA256.FORMAT.part`, whose length says how far it is and whose lock says that somebody is at it, in this process or
another; it gets its right name when it is whole and on the disk. Disks are made, and copies removed, under the
copy's own lock, so that no base goes away from under a disk that is just being made.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from cumulet.hypervisor import BaseImage, HypervisorError, ImageCopy
from cumulet.hypervisor.libvirt.files import part_of
from cumulet.hypervisor.libvirt.layout import HostLayout

CHUNK_BYTES: Final = 16 << 20
READY: Final = ImageCopy(ready=True, fraction=1.0)


class ImageCopies:
    """The copies in one directory; those in the making are found again by their names."""

    def __init__(self, layout: HostLayout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._copying: set[str] = set()
        self._errors: dict[str, str] = {}

    def ensure(self, image: BaseImage) -> ImageCopy:
        """Begin a copy or find it; one that failed is told once and begun again with the next call."""
        target = self._layout.image(image)
        if target.exists() or is_linked(image.path, target):
            return READY
        with self._lock:
            error = self._errors.pop(image.sha256, "")
            if not error and image.sha256 not in self._copying:
                self._copying.add(image.sha256)
                name = f"copy-{image.sha256[:12]}"
                threading.Thread(target=self._copy, args=(image,), name=name, daemon=True).start()
        return ImageCopy(ready=False, fraction=fraction_there(image.path, part_of(target)), error=error)

    def complete(self) -> frozenset[str]:
        """Digests of the copies that are whole."""
        return frozenset(path.stem for path in self._layout.images.iterdir() if path.suffix != ".part")

    def find(self, sha256: str) -> Path | None:
        """A whole copy, or None."""
        whole = (path for path in self._layout.images.glob(f"{sha256}.*") if path.suffix != ".part")
        return next(whole, None)

    @contextmanager
    def held(self, image: BaseImage) -> Iterator[None]:
        """Keep a copy from being removed; HypervisorError when it is not there."""
        with locked(self._layout.image(image), fcntl.LOCK_SH) as there:
            if not there:
                raise HypervisorError(f"image {image.sha256[:12]} is not on this host")
            yield

    @contextmanager
    def released(self, path: Path) -> Iterator[None]:
        """Wait until no disk is being made of the copy, and let none be made meanwhile."""
        with locked(path, fcntl.LOCK_EX):
            yield

    def _copy(self, image: BaseImage) -> None:
        error = ""
        try:
            copy_whole(image.path, self._layout.image(image))
        except OSError as failure:
            error = f"cannot copy the image: {failure.strerror or failure}"
        with self._lock:
            self._copying.discard(image.sha256)
            if error:
                self._errors[image.sha256] = error


def remove_abandoned(directory: Path) -> None:
    """Remove what copies that nobody is at any more left behind."""
    for part in directory.glob("*.part"):
        with part.open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink(missing_ok=True)


def is_linked(source: Path, target: Path) -> bool:
    """Make the copy a hard link if the file systems allow."""
    with suppress(FileExistsError):
        try:
            os.link(source, target)
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            return False
    return True


def fraction_there(source: Path, part: Path) -> float:
    """How much of a copy is there, 0.0 to 1.0."""
    try:
        return part.stat().st_size / source.stat().st_size
    except FileNotFoundError:
        return 0.0


@contextmanager
def locked(path: Path, kind: int) -> Iterator[bool]:
    """Hold a lock on a file; says whether there is one, still of that name once the lock is ours."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield False
        return
    with file:
        fcntl.flock(file, kind)
        yield is_named(file, path)


def is_named(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still what the path leads to."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file so that it is there whole or not at all; leaves it to whoever else is at it.

    What an OSError leaves unfinished is removed: it may be what fills the disk.
    """
    part = part_of(target)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o644)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
        try:
            fcntl.flock(writing, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if not is_named(writing, part):
            return
        writing.truncate(0)
        try:
            while os.sendfile(writing.fileno(), reading.fileno(), None, CHUNK_BYTES):
                pass
            os.fsync(writing.fileno())
        except OSError:
            part.unlink()
            raise
        part.rename(target)
