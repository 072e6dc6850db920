"""The JSON of private images, member for member as the contract has it, and what we add."""

from __future__ import annotations

from cumulet.wire import ProtoEnum, Wire


class ImageState(ProtoEnum):
    """`PrivateImage.PrivateImageState`."""

    UNKNOWN = "UNKNOWN", 0
    ATTACHED = "ATTACHED", 1
    CLONING = "CLONING", 2
    CREATING = "CREATING", 3
    DELETING = "DELETING", 4
    DISABLED = "DISABLED", 5
    FAILED = "FAILED", 6
    READY = "READY", 7
    UPDATING = "UPDATING", 8


class PrivateImage(Wire, kw_only=True):
    """An image that a project took of a VM of its own."""

    project_id: str
    id: str
    data_center_id: str
    description: str
    size_gib: int
    platform: str
    state: ImageState
    taken_from: str = ""
    """`STOPPED`, `FROZEN` (the guest held its file systems still) or `RUNNING` (what a crash would have left).

    This and the next two no contract has.
    """
    waiting_for: str = ""
    """What it waits for now, in words; `""` when it is settled."""
    problem: str = ""
    """The last failure, in words; `""` when there is none."""


class CreatePrivateVmImageResponse(Wire):
    """The image in the making."""

    image: PrivateImage


class GetPrivateVmImageResponse(Wire):
    """One image."""

    image: PrivateImage


class ListPrivateVmImagesResponse(Wire, kw_only=True):
    """One page of a project's images."""

    images: list[PrivateImage]
    total_count: int
    page_number: int
    """0 when the page was asked for by its token."""
    page_size: int
    page_token: str
