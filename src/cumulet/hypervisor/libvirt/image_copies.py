"""Copies of images on the host, under the disks that are based on them.

A copy is a file of its own, root's and for nobody to write: what else has the image stays whole when a copy does not.
A job copies into `SHA256.FORMAT.part`; it gets its right name when it is whole and on the disk. Before a disk is based
on a copy its content is compared with its checksum: once by each process, and again when the file has changed. One
that is not what it was is made anew. Disks are made, and copies removed, under the copy's own lock, so that no base
goes away from under a disk that is just being made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Final

import structlog

from cumulet.hypervisor import BaseImage, HypervisorError, ImageCopy
from cumulet.hypervisor.file_content import take_file
from cumulet.hypervisor.libvirt.files import part_of
from cumulet.hypervisor.libvirt.jobs import Job, Jobs, Record, is_named
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.pools import DiskPool

log = structlog.get_logger()

CHUNK_BYTES: Final = 16 << 20
READ_BYTES: Final = 1 << 20
BLOCK_BYTES: Final = 512
"""What `st_blocks` counts in."""
FOR_NOBODY_TO_WRITE: Final = 0o444
READY: Final = ImageCopy(ready=True, fraction=1.0)


class ImageCopies:
    """The copies in one directory, the host's own or a shared pool's; those in the making are found again by their digests."""

    def __init__(self, paths: HostPaths, pool: DiskPool | None = None) -> None:
        self._paths = paths
        self._pool = pool
        self._directory = pool.images if pool else paths.images
        jobs = paths.copies / pool.id if pool else paths.copies
        jobs.mkdir(exist_ok=True)
        self._jobs = Jobs(jobs, Record, failing="cannot copy the image")
        self._checked: dict[Path, Look] = {}
        """How each copy looked when its content was last compared with its checksum."""

    def ensure(self, image: BaseImage) -> ImageCopy:
        """Begin a copy or find it; one that failed is told once and begun again with the next call."""
        if self._pool:
            self._paths.pools.find(self._pool.id)
        target = self._place(image)
        if self._is_checked(target) and not self._jobs.failure(image.sha256):
            return READY
        begun = Record(source=str(image.path), part=str(self._part(target)))
        record = self._jobs.ensure(
            image.sha256,
            partial(self._make, image, target),
            fresh=lambda _: begun,
            is_done=lambda _: self._is_checked(target),
        )
        return ImageCopy(ready=False, fraction=record.fraction, error=record.error)

    def take(self, image: BaseImage) -> socket.socket:
        """Open a line that takes a copy from another host; one that has come meanwhile stays."""
        if self._pool:
            self._paths.pools.find(self._pool.id)
        target = self._place(image)

        sha256 = hashlib.sha256()

        def keep(part: Path) -> None:
            if sha256.hexdigest() != image.sha256:
                raise HypervisorError(f"what came is not image {image.sha256[:12]}")
            with part.open("rb") as file:
                make_safe(file)
            changed = target.exists() and not self._check(target, image.sha256)
            if name_whole(part, target, anew=changed):
                self._checked[target] = look_of(target)

        place = target.with_name(f"{target.name}.{socket.gethostname()}-brought")
        return take_file(place, keep, see=sha256.update)

    def complete(self) -> dict[str, int]:
        """Digests of the copies that are whole, and the bytes that they take."""
        whole = {}
        for path in self._directory.glob("*"):
            with suppress(FileNotFoundError):  # it is removed just now
                if path.suffix != ".part":
                    whole[path.stem] = path.stat().st_blocks * BLOCK_BYTES
        return whole

    def find(self, sha256: str) -> Path | None:
        """A whole copy, or None."""
        whole = (path for path in self._directory.glob(f"{sha256}.*") if path.suffix != ".part")
        return next(whole, None)

    def remove(self, path: Path, check: Callable[[], None]) -> None:
        """Remove a copy unless `check` raises; no disk is made of it meanwhile."""
        with self.released(path):
            check()
            path.unlink(missing_ok=True)
        self._jobs.cancel(path.stem)

    def remove_abandoned(self) -> None:
        """Remove what copies that nobody is at any more left behind."""
        self._jobs.forget_idle()

    @contextmanager
    def held(self, image: BaseImage) -> Iterator[None]:
        """Keep a copy from being removed; HypervisorError when it is not there."""
        with locked(self._place(image), fcntl.LOCK_SH) as there:
            if not there:
                raise HypervisorError(f"image {image.sha256[:12]} is not on this host")
            if not self._is_checked(self._place(image)):
                raise HypervisorError(
                    f"the copy of image {image.sha256[:12]} has changed: it is checked first"
                )
            yield

    @contextmanager
    def released(self, path: Path) -> Iterator[None]:
        """Wait until no disk is being made of the copy, and let none be made meanwhile."""
        with locked(path, fcntl.LOCK_EX):
            yield

    def _make(self, image: BaseImage, target: Path, job: Job[Record]) -> None:
        """Have a copy there that is what its name says; what became of one that was not is told."""
        changed = target.exists()
        if changed and self._check(target, image.sha256):
            return
        words = f"the copy of image {image.sha256[:12]} on the host was changed: it is copied again"
        if changed:
            log.warning(words, path=str(target))
            if not image.path.exists():
                raise HypervisorError(words)
        copy_whole(
            image.path, target, sha256=image.sha256, part=job.part, progress=job.progress, anew=changed
        )
        self._check(target, image.sha256)
        if changed:
            job.fail(words)

    def _place(self, image: BaseImage) -> Path:
        return self._paths.image(image, self._pool)

    def _part(self, target: Path) -> Path:
        """Where a copy grows: another host may be making its own in a directory that they share."""
        return (
            target.with_name(f"{target.name}.{socket.gethostname()}.part") if self._pool else part_of(target)
        )

    def _check(self, copy: Path, sha256: str) -> bool:
        """Whether a copy's content has its checksum; remembers how the file looked."""
        with suppress(FileNotFoundError), copy.open("rb") as file:
            make_safe(file)
            look = look_of(copy)
            if digest_of(file) == sha256:
                self._checked[copy] = look
                return True
        return False

    def _is_checked(self, copy: Path) -> bool:
        with suppress(FileNotFoundError):
            return self._checked.get(copy) == look_of(copy)
        return False


Look = tuple[int, int, int, int]


def look_of(path: Path) -> Look:
    """What changes with a file's content, owner, mode or place."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def make_safe(file: IO[bytes]) -> None:
    """Have a file be ours and for nobody to write; no change when it is."""
    found, owner = os.fstat(file.fileno()), (os.geteuid(), os.getegid())
    if (found.st_uid, found.st_gid) != owner:
        os.fchown(file.fileno(), *owner)
    if found.st_mode & 0o777 != FOR_NOBODY_TO_WRITE:
        os.fchmod(file.fileno(), FOR_NOBODY_TO_WRITE)


def digest_of(file: IO[bytes]) -> str:
    """The checksum of a whole file."""
    file.seek(0)
    sha256 = hashlib.sha256()
    while chunk := file.read(READ_BYTES):
        sha256.update(chunk)
    return sha256.hexdigest()


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


def copy_whole(
    source: Path,
    target: Path,
    *,
    sha256: str = "",
    part: Path | None = None,
    anew: bool = True,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Copy a file so that it is there whole or not at all; `progress` hears how much is there, from 0.0 to 1.0.

    It grows at `part`. One that has come meanwhile stays unless it is to be made `anew`: machines may run on it already.
    What an error leaves unfinished is removed: it may be what fills the disk. HypervisorError when what was copied
    does not have the checksum given.
    """
    part = part or part_of(target)
    part.unlink(missing_ok=True)
    try:
        with source.open("rb") as reading, part.open("x+b") as writing:
            size, copied = max(1, os.fstat(reading.fileno()).st_size), 0
            while some := copy_some(reading, writing):
                copied += some
                progress(min(1.0, copied / size))
            os.fsync(writing.fileno())
            make_safe(writing)
            refuse_other(writing, sha256, source)
        name_whole(part, target, anew=anew)
    finally:
        part.unlink(missing_ok=True)


def name_whole(part: Path, target: Path, *, anew: bool) -> bool:
    """Give a whole file its right name; False when one that has come meanwhile has it and is not to be made `anew`."""
    if anew:
        part.rename(target)
        return True
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    part.unlink()
    return True


def refuse_other(copy: IO[bytes], sha256: str, source: Path) -> None:
    """Return when a copy has the checksum that it is to have, if any; HypervisorError otherwise."""
    if sha256 and digest_of(copy) != sha256:
        raise HypervisorError(f"{source} has changed: build or import the image again")


def copy_some(reading: IO[bytes], writing: IO[bytes]) -> int:
    """Copy the next bytes, which file systems that can do so share instead; answers how many."""
    with suppress(OSError):  # between two file systems, or one that cannot
        return os.copy_file_range(reading.fileno(), writing.fileno(), CHUNK_BYTES)
    return os.sendfile(writing.fileno(), reading.fileno(), None, CHUNK_BYTES)
