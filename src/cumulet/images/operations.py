"""What the API tells of images; operators change them on the command line."""

from __future__ import annotations

from cumulet.images.store import IMPORTED, Image, ImageStore
from cumulet.images.wire import ImagePackage, ListPublicVmImagesResponse, PublicVmImage
from cumulet.operation import Access, operation


@operation("GET /v1/vms/public-images", access=Access.OPEN)
def list_public_vm_images(images: ImageStore) -> ListPublicVmImagesResponse:
    """List the images that every project may boot from."""
    return ListPublicVmImagesResponse(images=[public_image(image) for image in images.list()])


def public_image(image: Image) -> PublicVmImage:
    """Write an image as the contract has it."""
    packages = [
        ImagePackage(name=package.name, description=package.description, version=package.version)
        for package in image.installed_packages
    ]
    return PublicVmImage(
        id=image.id,
        name=image.name,
        description=image.description
        if image.is_built
        else IMPORTED,  # older ones tell there where they are from
        display_name=image.display_name,
        platform=image.platform,
        size_gib=image.size_gib,
        installed_packages=packages,
    )
