"""What a VM used, from the last hour to the last month."""

from __future__ import annotations

from datetime import timedelta

from cumulet.monitoring.operations import monitor_vm
from cumulet.web.graphs import HEIGHT, STRETCHES, WIDTH, graphs_of
from cumulet.web.pages.vm import VM, found, of_vm, show
from cumulet.web.site import page
from cumulet.web.visit import Shown, Visit

GIB = 2**30


@page(f"{VM}/graphs")
def graphs_page(visit: Visit) -> Shown:
    """Show them for the stretch that the address names, or else the last hour."""
    vm = found(visit)
    stretch = next((one for one in STRETCHES if one.name == visit.given("of")), STRETCHES[0])
    now = visit.asking.clock()
    end = (int(now.timestamp()) // stretch.step + 1) * stretch.step
    items = visit.ask(monitor_vm, **of_vm(visit), since=now - timedelta(seconds=stretch.seconds)).items
    return show(
        visit,
        "vms/graphs.html",
        vm,
        graphs=graphs_of(items, stretch, end=end, memory=vm.memory * GIB),
        stretch=stretch,
        stretches=STRETCHES,
        begin=end - stretch.seconds,
        since=now - timedelta(seconds=stretch.seconds),
        width=WIDTH,
        height=HEIGHT,
    )
