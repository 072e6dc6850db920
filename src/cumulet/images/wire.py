"""Images as JSON of the contract."""

from __future__ import annotations

from cumulet.wire import Wire


class ImagePackage(Wire):
    """A package that comes with an image."""

    name: str
    description: str
    version: str


class PublicVmImage(Wire):
    """An image that every project may boot from."""

    id: str
    name: str
    description: str
    display_name: str
    platform: str
    size_gib: int
    installed_packages: list[ImagePackage]


class ListPublicVmImagesResponse(Wire):
    """All public images, unpaged."""

    images: list[PublicVmImage]
