"""What Ctrl-K finds by a part of a name: things of all projects, who belongs to this one, one's own keys, and hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from cumulet.fleet.operations import list_hosts
from cumulet.projects.key_operations import list_api_keys, list_ssh_keys
from cumulet.projects.member_operations import list_user_permissions
from cumulet.search.operations import search_resources
from cumulet.search.wire import (
    DiskResult,
    ImageResult,
    NetworkResult,
    Result,
    SecurityGroupResult,
    VirtualMachineResult,
)
from cumulet.web.listings import MOST
from cumulet.web.pages.hosts import page_of
from cumulet.web.pages.keys import KEYS
from cumulet.web.site import page
from cumulet.web.visit import Sent, Visit

LONGEST: Final = 100
Thing = VirtualMachineResult | DiskResult | ImageResult | NetworkResult | SecurityGroupResult
"""What a project has."""
Found = Mapping[str, str]
"""Its name, what it is, and where it is shown."""


@page("/find")
def find(visit: Visit) -> Sent:
    """Give those of which there are pages, the nearest first, for the script that shows them; hosts to who may see them.

    `project` is the one that the page at hand is about, if it is about one.
    """
    words = visit.given("q")[:LONGEST]
    if not words:
        return Sent(b"[]", "application/json")
    things = [one for result in visit.ask(search_resources, query=words).results if (one := shown(result))]
    others = (*members(visit, visit.given("project")), *keys(visit), *hosts(visit))
    found = [*things, *(one for one in others if words.lower() in one["name"].lower())]
    return Sent(msgspec.json.encode(found), "application/json")


def members(visit: Visit, project: str) -> Iterator[Found]:
    """Name who belongs to a project."""
    if project:
        for one in visit.ask(list_user_permissions, project_id=project).project_permissions:
            url = f"/p/{quote(project, safe='')}/members#member-{one.user_id}"
            yield {"name": one.user_email, "what": f"member of {project}", "url": url}


def keys(visit: Visit) -> Iterator[Found]:
    """Name the keys of whoever is here, an SSH key as `ssh-add -l` does."""
    for api_key in visit.ask(list_api_keys, page_size=MOST).api_keys:
        yield {"name": api_key.id, "what": "API key", "url": f"{KEYS}#api"}
    for ssh_key in visit.ask(list_ssh_keys, page_size=MOST).ssh_keys:
        name = f"{ssh_key.fingerprint} {ssh_key.comment}".strip()
        yield {"name": name, "what": "SSH key", "url": f"{KEYS}#ssh"}


def hosts(visit: Visit) -> Iterator[Found]:
    """Name the hosts to who may see them."""
    if visit.audits:
        for one in visit.ask(list_hosts, page_size=MOST).hosts:
            yield {"name": one.id, "what": "host", "url": page_of(one.id)}


def shown(result: Result) -> Found | None:
    """Name something that was found, say what it is and where its page is; None without one."""
    if project := result.project:
        return {"name": project.id, "what": "project", "url": f"/p/{quote(project.id, safe='')}/vms"}
    if snapshot := result.snapshot:
        disk = f"/p/{quote(snapshot.project_id, safe='')}/disks/{quote(snapshot.disk_id, safe='')}"
        what = f"snapshot of {snapshot.disk_id} in {snapshot.project_id}"
        return {"name": snapshot.id, "what": what, "url": f"{disk}#snapshots"}
    things: tuple[tuple[str, str, Thing | None], ...] = (
        ("VM", "vms", result.virtual_machine),
        ("disk", "disks", result.disk),
        ("image", "images", result.image),
        ("network", "networks", result.network),
        ("security group", "security-groups", result.security_group),
    )
    return next((thing(what, part, one) for what, part, one in things if one), None)


def thing(what: str, part: str, one: Thing) -> Found:
    """Name something of a project, and say where its page is."""
    url = f"/p/{quote(one.project_id, safe='')}/{part}/{quote(one.id, safe='')}"
    return {"name": one.id, "what": f"{what} in {one.project_id}", "url": url}
