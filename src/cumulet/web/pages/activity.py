"""What happened in a project, the newest first: its journal, with the filters that the API has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from cumulet.errors import Invalid
from cumulet.feed.operations import list_events
from cumulet.web.site import page
from cumulet.web.visit import Shown, Visit

PAGE_SIZE: Final = 50
GROUPS: Final = {
    "vms": ("VMs", ("vm",)),
    "disks": ("Disks", ("disk", "snapshot")),
    "images": ("Images", ("private_image",)),
    "networks": ("Networks", ("network", "security_group")),
    "people": ("People", ("member", "user", "project")),
}
"""As the filter calls them, as people do, and the kinds that each means."""


@page("/p/{project_id:str}/activity", live=True)
def activity_page(visit: Visit) -> Shown:
    """Show the events that fit the filter, a page of them."""
    _, kinds = GROUPS.get(visit.given("of"), ("", ()))
    found = visit.ask(
        list_events,
        project_id=visit.project_id,
        kind=list(kinds),
        resource=visit.all_given("resource"),
        since=day(visit, "since"),
        until=day(visit, "until", end=True),
        newest_first=True,
        page_size=PAGE_SIZE,
        page_token=visit.given("after"),
    )
    return visit.show(
        "activity.html",
        events=found.events,
        older=found.page_token,
        groups=GROUPS,
        link=partial(visit.asking_for, "of", "resource", "since", "until"),
        is_filtered=any(visit.given(name) for name in ("of", "resource", "since", "until")),
    )


def day(visit: Visit, name: str, *, end: bool = False) -> datetime | None:
    """Read a day, by UTC, that the address names: when it begins, or ends; None for none, Invalid."""
    text = visit.given(name)
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=int(end))
    except (ValueError, OverflowError):
        raise Invalid.field(name, text, "a day, such as 2026-03-01") from None
