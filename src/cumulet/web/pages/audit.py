"""The audit: who asked for which change and what came of it, and who was refused a look."""

from __future__ import annotations

from functools import partial
from typing import Final

from cumulet.audit.model import Outcome
from cumulet.audit.operations import list_audit
from cumulet.web.site import page
from cumulet.web.visit import Shown, Visit

PAGE_SIZE: Final = 50
FILTERS: Final = ("user", "project", "operation", "refused")


@page("/audit")
def audit_page(visit: Visit) -> Shown:
    """Show the entries that fit the filter, the newest first: all to who audits, to owners those of their projects."""
    found = visit.ask(
        list_audit,
        user=visit.given("user"),
        project_id=visit.given("project"),
        operation=visit.given("operation"),
        is_refused=visit.given("refused") == "yes",
        page_size=PAGE_SIZE,
        page_token=visit.given("after"),
    )
    return visit.show(
        "audit.html",
        entries=found.entries,
        older=found.page_token,
        done=Outcome.OK,
        link=partial(visit.asking_for, *FILTERS),
        is_filtered=any(visit.given(name) for name in FILTERS),
    )
