"""What a VM used, from the last hour to the last month."""

from __future__ import annotations

from cumulet.web.graphs import STRETCHES
from cumulet.web.pages.vm import VM, found, show, used_by
from cumulet.web.site import page
from cumulet.web.visit import Shown, Visit


@page(f"{VM}/graphs", live=True)
def graphs_page(visit: Visit) -> Shown:
    """Show them for the stretch that the address names, or else the last hour."""
    vm = found(visit)
    stretch = next((one for one in STRETCHES if one.name == visit.given("of")), STRETCHES[0])
    begin, graphs = used_by(visit, vm, stretch)
    return show(
        visit, "vms/graphs.html", vm, graphs=graphs, stretch=stretch, stretches=STRETCHES, begin=begin
    )
