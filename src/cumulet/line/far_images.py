"""Images of a host that is far away: their content goes over the line first, or last; the rest the host does as near ones do."""

from __future__ import annotations

import socket
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from cumulet.hypervisor import BaseImage, HypervisorError, ImageCapture, ImageCopy, ImageOrder
from cumulet.hypervisor.carrier import Carrier, Lines, both
from cumulet.hypervisor.file_content import give_file, take_file


class FarImages:
    """Images on one host; `there` is that part of it, and `spool` what takes and gives files there, in `folder`."""

    def __init__(self, there: Any, spool: Any, folder: Path) -> None:  # noqa: ANN401 - verbs over the line
        self._there = there
        self._spool = spool
        self._folder = folder
        self._carrier = Carrier()
        self._brought: set[str] = set()
        """Digests of images whose content is there, and not yet a copy."""
        self._damaged: set[str] = set()
        """Of copies that the host found to be others than they should be."""

    def copy(self, image: BaseImage, pool: str = "") -> ImageCopy:
        """Bring an image's content, and have the host make a copy of it."""
        sha256 = image.sha256
        if sha256 not in self._brought and (
            sha256 in self._damaged or sha256 not in self._there.copies(pool)
        ):
            try:
                over = self._carrier.bring(sha256, partial(self._open_upload, image))
            except (HypervisorError, OSError) as problem:
                return ImageCopy(ready=False, fraction=0.0, error=str(problem))
            if over is not None:
                return ImageCopy(ready=False, fraction=over)
            self._brought.add(sha256)
        copy: ImageCopy = self._there.copy(replace(image, path=self._folder / sha256), pool)
        if copy.error:
            self._brought.discard(sha256)
            self._damaged.add(sha256)
        elif copy.ready:
            self._done_with(sha256)
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

    def _open_upload(self, image: BaseImage) -> Lines:
        return both(give_file(image.path), partial(self._spool.receive, image.sha256))

    def _open_download(self, order: ImageOrder) -> Lines:
        def keep(part: Path) -> None:
            part.chmod(0o644)
            part.rename(order.target)

        order.target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        return both(self._spool.send(str(order.image_id)), partial(take_file, order.target, keep))

    def _done_with(self, sha256: str) -> None:
        self._damaged.discard(sha256)
        if sha256 in self._brought:
            self._spool.drop(sha256)
            self._brought.discard(sha256)
