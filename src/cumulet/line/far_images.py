"""Images of a host that is far away: their content goes over the line first, or last; the rest the host does as near ones do.

What comes is a copy at once, found to have the image's checksum as it came. Into Ceph the host converts it from a file.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from cumulet.hypervisor import BaseImage, HypervisorError, ImageCapture, ImageCopy, ImageOrder
from cumulet.hypervisor.carrier import Carrier, Lines, both
from cumulet.hypervisor.file_content import give_file, take_file

Wanted = tuple[str, str]
"""The digest of an image, and the pool under whose disks its copy is to be."""


class FarImages:
    """Images on one host; `there` is that part of it, and `spool` what takes and gives files there, in `folder`."""

    def __init__(
        self,
        there: Any,  # noqa: ANN401 - verbs over the line
        spool: Any,  # noqa: ANN401
        folder: Path,
        in_ceph: Collection[str],
    ) -> None:
        """`in_ceph` are the pools that lie there."""
        self._there = there
        self._spool = spool
        self._folder = folder
        self._in_ceph = in_ceph
        self._carrier = Carrier()
        self._brought: set[Wanted] = set()
        """Those whose content is there, and not yet a copy."""
        self._damaged: set[Wanted] = set()
        """Those of which the host found the copy to be another than it should be."""

    def copy(self, image: BaseImage, pool: str = "") -> ImageCopy:
        """Bring an image's content, and have the host make a copy of it."""
        wanted = (image.sha256, pool)
        if wanted not in self._brought and (
            wanted in self._damaged or image.sha256 not in self._there.copies(pool)
        ):
            try:
                what = f"image {image.sha256} to pool {pool!r}"
                over = self._carrier.bring(what, partial(self._open_upload, image, pool))
            except (HypervisorError, OSError) as problem:
                return ImageCopy(ready=False, fraction=0.0, error=str(problem))
            if over is not None:
                return ImageCopy(ready=False, fraction=over)
            self._brought.add(wanted)
        copy: ImageCopy = self._there.copy(replace(image, path=self._folder / image.sha256), pool)
        if copy.error:
            self._brought.discard(wanted)
            self._damaged.add(wanted)
        elif copy.ready:
            self._done_with(wanted)
        return copy

    def copies(self, pool: str | None = None) -> dict[str, int]:
        """The complete copies, with what they take."""
        found: dict[str, int] = self._there.copies(pool)
        return found

    def send_copy(self, sha256: str) -> socket.socket:
        """Give a copy."""
        line: socket.socket = self._there.send_copy(sha256)
        return line

    def receive_copy(self, image: BaseImage, pool: str = "") -> socket.socket:
        """Take a copy in."""
        line: socket.socket = self._there.receive_copy(image, pool)
        return line

    def remove_copy(self, sha256: str) -> None:
        """Remove a copy that no disk is based on."""
        self._there.remove_copy(sha256)

    def capture(self, order: ImageOrder) -> ImageCapture:
        """Have the host capture an image, and fetch it."""
        name = str(order.image_id)
        capture: ImageCapture = self._there.capture(replace(order, target=self._folder / name))
        if capture.taken_from is None:
            return replace(capture, fraction=capture.fraction / 2)
        if order.target.exists():
            return capture
        try:
            over = self._carrier.bring(name, partial(self._open_download, order))
        except (HypervisorError, OSError) as problem:
            return ImageCapture(0.5, error=str(problem))
        return capture if over is None else ImageCapture(0.5 + over / 2)

    def captures(self) -> frozenset[UUID]:
        """Images of whose capture anything is there."""
        found: frozenset[UUID] = self._there.captures()
        return found

    def forget_capture(self, image_id: UUID) -> bool:
        """Give it up."""
        forgotten: bool = self._there.forget_capture(image_id)
        if forgotten:
            self._spool.drop(str(image_id))
        return forgotten

    def _open_upload(self, image: BaseImage, pool: str) -> Lines:
        receive = partial(self._there.receive_copy, image, pool)
        if pool in self._in_ceph:
            receive = partial(self._spool.receive, image.sha256)
        return both(give_file(image.path), receive)

    def _open_download(self, order: ImageOrder) -> Lines:
        def keep(part: Path) -> None:
            part.chmod(0o644)
            part.rename(order.target)

        order.target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        return both(self._spool.send(str(order.image_id)), partial(take_file, order.target, keep))

    def _done_with(self, wanted: Wanted) -> None:
        sha256, pool = wanted
        self._damaged.discard(wanted)
        if wanted in self._brought and pool in self._in_ceph:
            self._spool.drop(sha256)
        self._brought.discard(wanted)
