"""`cumulet private-image`: images that a project takes of its own VMs, to make others from."""

from __future__ import annotations

from typing import Final

from cyclopts import App

from cumulet.cli.client import Client, connect
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Listing, show, show_one
from cumulet.cli.settling import Resource, Wait, follow, state
from cumulet.cli.several import each
from cumulet.cli.vms import AT_ONCE, WaitOptions
from cumulet.cli.words import NewId, PrivateImage, PrivateImages, Project, VmName

IMAGES: Final = "/v1/projects/{}/images"
IMAGE: Final = "/v1/projects/{}/images/{}"
TAKEN: Final = {
    "": "",
    "STOPPED": "off",
    "FROZEN": "running, file systems frozen",
    "RUNNING": "running, crash-consistent",
}

COLUMNS: Final[Columns] = {
    "NAME": lambda image: image["id"],
    "STATE": lambda image: image["state"],
    "SIZE": lambda image: f"{image['sizeGib']} GiB",
    "DESCRIPTION": lambda image: image["description"],
    "NOW": lambda image: image["problem"] or image["waitingFor"],
}
FACTS: Final[Columns] = {
    "name": lambda image: image["id"],
    "state": lambda image: image["state"],
    "waits for": lambda image: image["waitingFor"],
    "problem": lambda image: image["problem"],
    "description": lambda image: image["description"],
    "size": lambda image: f"{image['sizeGib']} GiB",
    "its VM was": lambda image: TAKEN[image["takenFrom"]],
    "lies in": lambda image: image["dataCenterId"],
}

app = App(name="private-image", default_parameter=OPTIONS)


@app.command
def create(
    vm: VmName,
    name: NewId,
    /,
    *,
    description: str = "",
    waiting: WaitOptions = AT_ONCE,
    output: Format = "table",
    project: Project = "default",
) -> None:
    """Capture an image of a VM's boot disk, running or stopped; with --wait return when VMs can be created from it.

    :param description: A description for people.
    """
    client, until = connect(), waiting.deadline()
    image = client.post(IMAGES, project, vmId=vm, id=name, description=description)["image"]
    if waiting.wait:
        wait = Wait(lambda image: state(image) == "READY", "is ready", until)
        image = follow(one(client, project, name), wait)
    show_one(image, output, FACTS)


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE, project: Project = "default") -> None:
    """List the project's own images."""
    show(connect().list(IMAGES, project, member="images"), listing, COLUMNS)


@app.command
def get(name: PrivateImage, /, *, output: Format = "table", project: Project = "default") -> None:
    """Show an image."""
    show_one(connect().get(IMAGE, project, name)["image"], output, FACTS)


@app.command
def update(name: PrivateImage, description: str, /, *, project: Project = "default") -> None:
    """Change an image's description.

    :param description: A description for people.
    """
    connect().post(IMAGE, project, name, description=description)


@app.command(alias="rm")
def delete(
    name: PrivateImage, /, *more: PrivateImages, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Delete images that no VM is based on; with --wait return when they are deleted."""
    client, until = connect(), waiting.deadline()
    gone = Wait(lambda image: not image, "is deleted", until)
    wait = [lambda image: follow(one(client, project, image), gone)] if waiting.wait else []
    each((name, *more), lambda image: client.delete(IMAGE, project, image), *wait)


def one(client: Client, project: str, name: str) -> Resource:
    """Name an image."""
    return Resource(client, "image", IMAGE, project, name)
