"""What Ctrl-K finds: things of all projects, by a part of their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from cumulet.fleet.operations import list_hosts
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
from cumulet.web.site import page
from cumulet.web.visit import Sent, Visit

LONGEST: Final = 100
Thing = VirtualMachineResult | DiskResult | ImageResult | NetworkResult | SecurityGroupResult
"""What a project has."""


@page("/find")
def find(visit: Visit) -> Sent:
    """Give those of which there are pages, the nearest first, for the script that shows them; hosts to who may see them."""
    words = visit.given("q")[:LONGEST]
    results = visit.ask(search_resources, query=words).results if words else []
    found = [one for result in results if (one := shown(result))]
    if words and visit.audits:
        hosts = visit.ask(list_hosts, page_size=MOST).hosts
        found += [
            {"name": one.id, "what": "host", "url": page_of(one.id)}
            for one in hosts
            if words.lower() in one.id.lower()
        ]
    return Sent(msgspec.json.encode(found), "application/json")


def shown(result: Result) -> Mapping[str, str] | None:
    """Name something that was found, say what it is and where its page is; None without one."""
    if project := result.project:
        return {"name": project.id, "what": "project", "url": f"/p/{quote(project.id, safe='')}/vms"}
    things: tuple[tuple[str, str, Thing | None], ...] = (
        ("VM", "vms", result.virtual_machine),
        ("disk", "disks", result.disk),
        ("image", "images", result.image),
        ("network", "networks", result.network),
        ("security group", "security-groups", result.security_group),
    )
    return next((thing(what, part, one) for what, part, one in things if one), None)


def thing(what: str, part: str, one: Thing) -> Mapping[str, str]:
    """Name something of a project, and say where its page is."""
    url = f"/p/{quote(one.project_id, safe='')}/{part}/{quote(one.id, safe='')}"
    return {"name": one.id, "what": f"{what} in {one.project_id}", "url": url}
