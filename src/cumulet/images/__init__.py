"""Guest images: two that we build from Debian's packages, and any that an operator imports."""

from cumulet.images import copies, operations  # noqa: F401 - declares them
from cumulet.images.build import build_image, ensure_image, find_recipe
from cumulet.images.made_up import offer_made_up_images
from cumulet.images.store import Image, ImageStore

__all__ = [
    "Image",
    "ImageStore",
    "build_image",
    "ensure_image",
    "find_recipe",
    "offer_made_up_images",
]
