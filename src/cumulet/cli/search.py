"""`cumulet search`: what one has, over all projects, by a part of its name."""

from __future__ import annotations

from typing import Final

from cumulet.cli.client import connect
from cumulet.cli.output import AS_TABLE, Columns, Listing, show

COLUMNS: Final[Columns] = {
    "KIND": lambda one: one["resourceType"],
    "NAME": lambda one: one["resourceName"].rpartition("/")[2],
    "PROJECT": lambda one: one["resourceName"].split("/")[1],
}


def search(text: str, /, *, listing: Listing = AS_TABLE) -> None:
    """Find projects, virtual machines, disks, snapshots, private images, networks and security groups by a part of their names.

    :param text: What their names have in them.
    """
    found = connect().get("/v1/resources/search", query=text)["results"]
    show(found, listing, COLUMNS, name="resourceName")
