"""Building an image from its recipe and putting it into the store, when the store does not have it already."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cumulet.errors import NotFound
from cumulet.images.recipes import RECIPES, BuildFailed, Progress, Recipe
from cumulet.images.store import BUILT, Image, ImageStore


def build_image(store: ImageStore, recipe: Recipe, progress: Progress) -> Image:
    """Build an image whether or not the store has it, and store it.

    Raises BuildFailed: we are not root, or a step failed.
    """
    if os.geteuid() != 0:
        raise BuildFailed("building an image needs root, because files in it belong to root; use sudo")
    store.root.mkdir(parents=True, exist_ok=True)
    with files_for_all(), tempfile.TemporaryDirectory(prefix="cumulet-image-", dir="/var/tmp") as folder:
        disk = Path(folder) / "image.qcow2"
        packages = recipe.build(disk, progress)
        image = Image(
            id=recipe.id,
            name=recipe.name,
            display_name=recipe.display_name,
            description=recipe.description,
            platform=recipe.platform,
            cloud_init=recipe.cloud_init,
            size_gib=recipe.size_gib,
            format="qcow2",
            sha256=sha256_of(disk),
            origin=f"{BUILT}{recipe.digest()}",
            installed_packages=packages,
        )
        return store.add(image, disk)


@contextmanager
def files_for_all() -> Iterator[None]:
    """Make files that everybody may read, whatever the operator's own habit is: in a guest many users must."""
    habit = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(habit)


def ensure_image(store: ImageStore, id: str, progress: Progress) -> Image:
    """Return the image, built only when it is missing or its recipe changed since.

    What an operator imported under the id of a recipe is their choice and stays.
    """
    recipe = find_recipe(id)
    try:
        image = store.find(recipe.id)
    except NotFound:
        return build_image(store, recipe, progress)
    outdated = image.is_built and image.origin != f"{BUILT}{recipe.digest()}"
    return build_image(store, recipe, progress) if outdated else image


def find_recipe(id: str) -> Recipe:
    """Return the recipe of that id.

    Raises NotFound: we have none; the message names those we have.
    """
    if id not in RECIPES:
        raise NotFound(f"there is no recipe {id!r}; there are {', '.join(sorted(RECIPES))}")
    return RECIPES[id]


def sha256_of(path: Path) -> str:
    """Return the checksum of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
