"""Images: those of the project, taken of its VMs, and the public ones; and what their forms do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cumulet.disks.operations import list_disks
from cumulet.fleet.operations import list_image_copies
from cumulet.images.operations import list_public_vm_images
from cumulet.private_images.create import create_private_vm_image
from cumulet.private_images.operations import (
    delete_private_vm_image,
    get_private_vm_image,
    list_private_vm_images,
    update_private_vm_image,
)
from cumulet.private_images.wire import ImageState, PrivateImage
from cumulet.web.listings import ConnectedVm, all_of, all_vms
from cumulet.web.pages.disks import AT_REST
from cumulet.web.site import form, page
from cumulet.web.visit import Gone, Shown, Visit
from cumulet.web.vm_states import State

IMAGES: Final = "/p/{project_id:str}/images"
IMAGE: Final = f"{IMAGES}/{{id:str}}"
NEW: Final = "/p/{project_id:str}/new-image"
WORDS: Final[Mapping[ImageState, tuple[str, str]]] = {
    ImageState.READY: ("good", "Ready"),
    ImageState.CREATING: ("wait", "Being taken"),
    ImageState.DELETING: ("wait", "Going"),
}
OTHER: Final = ("bad", "Failed")
TAKEN: Final = {
    "STOPPED": "its VM was off",
    "FROZEN": "its VM ran, and its guest held its file systems still",
    "RUNNING": "its VM ran: it holds what a crash would have left",
}
"""How a VM was when an image was taken of it."""


@page(IMAGES, live=True)
def images_page(visit: Visit) -> Shown:
    """List those of the project, and the public ones."""
    return visit.show(
        "images/list.html",
        own=all_of(visit, list_private_vm_images, "images"),
        public=visit.ask(list_public_vm_images).images,
        state_of=state_of,
        taken=TAKEN,
    )


@page(NEW)
def new_page(visit: Visit) -> Shown:
    """Show the form for a new one."""
    vms = [(one.id, one.id) for one in all_vms(visit, ConnectedVm) if one.state in AT_REST]
    return visit.show("images/create.html", vms=vms)


@page(IMAGE, live=True)
def image_page(visit: Visit) -> Shown:
    """Show one of the project's own."""
    return show(visit, "images/image.html")


@page(f"{IMAGE}/delete")
def delete_page(visit: Visit) -> Shown:
    """Say what goes with it, and what is based on it still."""
    return show(visit, "images/delete.html")


@form(NEW, on=new_page)
def create(visit: Visit) -> Gone:
    """Take one of a VM."""
    asked = {"vm_id": visit.given("vmId"), "id": visit.given("id"), "description": visit.given("description")}
    visit.ask(create_private_vm_image, project_id=visit.project_id, **asked)
    return Gone(visit.url("images", asked["id"]))


@form(f"{IMAGE}/description", on=image_page)
def describe(visit: Visit) -> Gone:
    """Say what it is for."""
    visit.ask(update_private_vm_image, **of_image(visit), description=visit.given("description"))
    return Gone(visit.url("images", visit.names["id"]))


@form(f"{IMAGE}/delete", on=delete_page)
def delete(visit: Visit) -> Gone:
    """Delete it."""
    visit.ask(delete_private_vm_image, **of_image(visit))
    return Gone(visit.url("images"))


def show(visit: Visit, template: str) -> Shown:
    """Show a page of one."""
    image = visit.ask(get_private_vm_image, **of_image(visit)).image
    disks = [one for one in all_of(visit, list_disks, "disks") if one.private_image_id == image.id]
    copies = hosts_with_copies(visit).get(f"{visit.project_id}:{image.id}", ())
    return visit.show(template, image=image, state=state_of(image), disks=disks, taken=TAKEN, copies=copies)


def hosts_with_copies(visit: Visit) -> Mapping[str, Sequence[str]]:
    """Say on which hosts copies of each image lie, for those who may know; of earlier versions of one nothing is said."""
    found: dict[str, list[str]] = defaultdict(list)
    for copy in visit.ask(list_image_copies).copies if visit.audits else ():
        found[copy.id].append(copy.host_id)
    return found


def of_image(visit: Visit) -> dict[str, Any]:
    """Name it, as operations want that."""
    return {"project_id": visit.project_id, "id": visit.names["id"]}


def state_of(image: PrivateImage) -> State:
    """Say how an image is."""
    tone, word = WORDS.get(image.state, OTHER)
    return State(tone, word, image.waiting_for or image.problem)
