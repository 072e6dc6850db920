"""Images of made-up hosts: names with nothing behind them, so that a cloud in memory has something to boot from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Final

from cumulet.ids import is_id
from cumulet.images.recipes import RECIPES
from cumulet.images.store import Image, ImageStore

ORIGIN: Final = "made up"
HARD_CODED: Final = (
    "alpine-linux-319",
    "ubuntu-2204",
    "ubuntu-2204-nvidia-535-docker-v20240214",
    "ubuntu-2204-nvidia-535-docker-v20241017",
)
"""Ids that published clients insist on; `debian-12` answers to them."""


def offer_made_up_images(store: ImageStore, wanted: Iterable[str]) -> None:
    """Offer an image for each recipe and each id that is wanted, in a store that has no real ones."""
    if any(image.origin != ORIGIN for image in store.list()):
        return
    for id in sorted({*RECIPES, *filter(is_id, wanted)} - {*store.ids()}):
        add_made_up(store, id)
    taken = {*store.ids()}
    debian = store.find("debian-12")
    store.set_aliases(debian.id, (*debian.aliases, *(id for id in HARD_CODED if id not in taken)))


def add_made_up(store: ImageStore, id: str) -> None:
    """Add one, named as its recipe names it if there is one."""
    content = f"made up: {id}".encode()
    image = Image(
        id=id,
        name=id,
        display_name=id,
        description="Made up, as the hosts are",
        size_gib=1,
        format="qcow2",
        sha256=sha256(content).hexdigest(),
        origin=ORIGIN,
    )
    if recipe := RECIPES.get(id):
        image = replace(
            image,
            name=recipe.name,
            display_name=recipe.display_name,
            size_gib=recipe.size_gib,
            cloud_init=recipe.cloud_init,
        )
    disk = store.root.parent / f"{id}.made-up"
    disk.parent.mkdir(parents=True, exist_ok=True)
    disk.write_bytes(content)
    store.add(image, disk)
