"""Images that projects take of their own VMs, to make others from."""

from cumulet.private_images import create, operations
from cumulet.private_images.find import as_image, find_ready_image, image_view
from cumulet.private_images.model import PrivateImage
from cumulet.private_images.reconcile import reconcile_image
from cumulet.private_images.wire import ImageState

__all__ = [
    "ImageState",
    "PrivateImage",
    "as_image",
    "create",
    "find_ready_image",
    "image_view",
    "operations",
    "reconcile_image",
]
