"""`cumulet image`, as the images have it, and their list for those as well who are not at the server."""

from __future__ import annotations

import os
from typing import Annotated, Final

import msgspec

from cumulet.cli.client import Json, connect
from cumulet.cli.config import means_this_machine
from cumulet.cli.output import AS_TABLE, Columns, Format, Listing, local_time, show, show_one
from cumulet.cli.words import identifier
from cumulet.images.cli import image_app, our_store
from cumulet.images.operations import public_image
from cumulet.settings import read_settings

COLUMNS: Final[Columns] = {
    "NAME": lambda image: image["id"],
    "SIZE": lambda image: f"{image['sizeGib']} GiB",
    "WHAT": lambda image: image["displayName"],
    "ALSO CALLED": lambda image: " ".join(image.get("aliases", ())),
}
MORE: Final[Columns] = {"FROM": lambda image: image.get("origin", "")}
"""As aliases, known at the server alone."""
FACTS: Final[Columns] = {
    "name": lambda image: image["id"],
    "what": lambda image: image["displayName"],
    "description": lambda image: image["description"],
    "size": lambda image: f"{image['sizeGib']} GiB",
    "copies": lambda image: ", ".join(
        f"{copy['hostId']} ({copy['sizeGib']:g} GiB, last used {local_time(copy['lastUsedTime'])})"
        for copy in image["copies"]
    ),
}
app = image_app()


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List the images that VMs boot from: this machine's own, or those of the cloud that is meant."""
    show(stored_images() if is_at_server() else public_images(), listing, COLUMNS, more=MORE)


@app.command
def get(
    id: Annotated[str, identifier("What VMs call it.", "/v1/vms/public-images", "images")],
    /,
    *,
    output: Format = "table",
) -> None:
    """Show an image that VMs boot from, and on which hosts copies of it lie."""
    found = connect().get("/v1/image-copies", imageId=id)
    (image,) = (image for image in public_images() if image["id"] == found["imageId"])
    show_one({**image, "copies": found["copies"]}, output, FACTS)


def is_at_server() -> bool:
    """Whether this machine has images of its own, and no other cloud is meant."""
    return means_this_machine() and os.access(read_settings(os.environ).images_dir, os.R_OK)


def stored_images() -> list[Json]:
    """Read the images of this installation, server running or not; each as the API has it, and where it is from."""
    return [
        msgspec.to_builtins(public_image(image))
        | {"origin": "a recipe" if image.is_built else image.origin, "aliases": image.aliases}
        for image in our_store().list()
    ]


def public_images() -> list[Json]:
    """Ask the API for the images that every project may boot from."""
    images: list[Json] = connect().get("/v1/vms/public-images")["images"]
    return images
