"""The images that Cumulet builds itself, and what a host needs for building them."""

from typing import Final

from cumulet.images.recipes.debian import DEBIAN_12
from cumulet.images.recipes.micro import MICRO
from cumulet.images.recipes.recipe import BuildFailed, Package, Progress, Recipe

__all__ = ["HOST_PACKAGES", "RECIPES", "BuildFailed", "Package", "Progress", "Recipe"]

RECIPES: Final = {recipe.id: recipe for recipe in (DEBIAN_12, MICRO)}

HOST_PACKAGES: Final = (
    "debian-archive-keyring",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "mmdebstrap",
    "mtools",
    "python-apt-common",
    "qemu-utils",
    "zstd",
)
"""Packages (the same names on Debian and Ubuntu) that every recipe may call on."""
