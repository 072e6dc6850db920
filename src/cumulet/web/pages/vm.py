"""A VM: how it is, how to enter it, whether it can be reached, what happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from cumulet.console.operations import connect_vm, get_vm_screenshot
from cumulet.disks.operations import get_disk
from cumulet.disks.vm_operations import list_vm_disks
from cumulet.errors import CumuletError
from cumulet.monitoring.operations import monitor_vm
from cumulet.security_groups.operations import list_security_groups
from cumulet.vm_record.accepts import NEEDS, Verb, accepts
from cumulet.vm_record.wire import VmState
from cumulet.vms.operations import get_vm, get_vm_console_log, get_vm_timeline
from cumulet.vms.reach import get_vm_reachability
from cumulet.vms.wire import ReachabilityResponse, Vm
from cumulet.web.graphs import STRETCHES, Graph, Stretch, graphs_of
from cumulet.web.lets_pass import lets_in, lets_out
from cumulet.web.listings import nics_of
from cumulet.web.site import page
from cumulet.web.visit import Gone, Sent, Shown, Visit
from cumulet.web.vm_states import WORDS, state_of

VM: Final = "/p/{project_id:str}/vms/{id:str}"
NEWEST: Final = 6
"""Events on the overview."""
GIB: Final = 2**30
LINES: Final = 14
"""Of the serial console's log, while it boots."""


@page(VM, live=True)
def vm_page(visit: Visit) -> Shown:
    """Show a VM."""
    vm = found(visit)
    state = state_of(vm)
    is_booting = state.tone == "wait" and vm.state is not VmState.DELETING
    answer, wrong = reachability(visit)
    graphs = [] if is_booting else used_by(visit, vm, STRETCHES[0])[1]
    return show(
        visit,
        "vms/vm.html",
        vm,
        events=visit.ask(get_vm_timeline, **of_vm(visit)).entries[: -NEWEST - 1 : -1],
        log=last_lines(visit) if is_booting else "",
        graphs=graphs,
        answer=answer,
        wrong=wrong,
        fixing=answer is not None and not answer.reachable and answer.security_group_id in groups_of(vm),
    )


@page(f"{VM}/disks", live=True)
def disks_page(visit: Visit) -> Shown:
    """Show its disks and their snapshots."""
    vm = found(visit)
    disks = visit.ask(list_vm_disks, **of_vm(visit)).disks
    snapshots = {
        one.id: visit.ask(get_disk, project_id=visit.project_id, id=one.id).snapshots for one in disks
    }
    return show(visit, "vms/disks.html", vm, disks=disks, snapshots=snapshots)


@page(f"{VM}/network", live=True)
def network_page(visit: Visit) -> Shown:
    """Show its NICs, and what their security groups let pass."""
    vm = found(visit)
    there = visit.ask(
        list_security_groups, project_id=visit.project_id, data_center_id=vm.datacenter_id, page_size=1000
    )
    nics = [
        (nic, [one for one in there.security_groups if one.id in nic.security_group_ids])
        for nic in nics_of(vm)
    ]
    of_all = [one for one in there.security_groups if all(one in groups for _, groups in nics)]
    return show(
        visit,
        "vms/network.html",
        vm,
        nics=[(nic, lets_in(groups), lets_out(groups)) for nic, groups in nics],
        attached=[one for one in there.security_groups if any(one in groups for _, groups in nics)],
        others=[one for one in there.security_groups if one not in of_all],
    )


@page(f"{VM}/timeline", live=True)
def timeline_page(visit: Visit) -> Shown:
    """Show all that happened to it, the newest first."""
    vm = found(visit)
    return show(
        visit, "vms/timeline.html", vm, events=visit.ask(get_vm_timeline, **of_vm(visit)).entries[::-1]
    )


@page(f"{VM}/settings")
def settings_page(visit: Visit) -> Shown:
    """Show what can be changed of it."""
    return show(visit, "vms/settings.html", found(visit))


@page(f"{VM}/delete")
def delete_page(visit: Visit) -> Shown:
    """Say what goes with it and what stays, before it is deleted."""
    return show(visit, "vms/delete.html", found(visit))


@page(f"{VM}/console", live=True)
def console_page(visit: Visit) -> Shown:
    """Show its screen or its serial console, while it has one; for who may type there."""
    vm = found(visit)
    has_console = accepts(Verb.CONNECT, vm.state) and visit.may_edit and not visit.refused
    return show(
        visit,
        "vms/console.html",
        vm,
        kind=console_kind(visit),
        has_console=has_console,
    )


@page(f"{VM}/console/inside")
def inside_page(visit: Visit) -> Gone:
    """Lead to the console that its page has inside, with a ticket of its own; for who may type there."""
    return Gone(console_link(visit))


@page(f"{VM}/screen.png")
def screen(visit: Visit) -> Sent:
    """Show its screen as it is now."""
    return Sent(visit.ask(get_vm_screenshot, **of_vm(visit)), "image/png")


def console_link(visit: Visit) -> str:
    """Give the way to the console that is asked for: its page, and behind # the ticket for it."""
    link = urlsplit(visit.ask(connect_vm, **of_vm(visit)).connect_url)
    return f"{link.path.removesuffix('screen')}{console_kind(visit)}#{link.fragment}"


def console_kind(visit: Visit) -> str:
    """Say which of the two is asked for."""
    return "screen" if visit.given("kind") == "screen" else "serial"


def show(visit: Visit, template: str, vm: Vm, **shown: object) -> Shown:
    """Show a page of a VM, with what all of them have."""
    return visit.show(template, vm=vm, state=state_of(vm), why_not=why_not(vm), **shown)


def found(visit: Visit) -> Vm:
    """Give the VM that the address names; NotFound."""
    return visit.ask(get_vm, **of_vm(visit)).vm


def used_by(visit: Visit, vm: Vm, stretch: Stretch) -> tuple[int, list[Graph]]:
    """Draw what it used in a stretch of time until now, and say in which second that began."""
    now = visit.asking.clock()
    end = (int(now.timestamp()) // stretch.step + 1) * stretch.step
    items = visit.ask(monitor_vm, **of_vm(visit), since=now - timedelta(seconds=stretch.seconds)).items
    return end - stretch.seconds, graphs_of(items, stretch, end=end, memory=vm.memory * GIB)


def of_vm(visit: Visit) -> dict[str, Any]:
    """Name it, as operations want that."""
    return {"project_id": visit.project_id, "id": visit.names["id"]}


def why_not(vm: Vm) -> Mapping[str, str]:
    """Say of each verb why the VM does not accept it now; empty for one that it does."""
    reasons = {}
    for verb, (needed, _) in NEEDS.items():
        state, word = WORDS.get(vm.state, ("", vm.state.value))[1], WORDS[needed][1]
        reasons[verb.name.lower()] = (
            "" if accepts(verb, vm.state) else f"it is {state.lower()} and must be {word.lower()}"
        )
    return reasons


def reachability(visit: Visit) -> tuple[ReachabilityResponse | None, str]:
    """Ask the network what the address asks about, if anything: its answer, or what is wrong with the question."""
    source, protocol = visit.given("from"), visit.given("protocol", "tcp")
    if not source:
        return None, ""
    port = visit.given("port", "0")
    number = int(port) if port.isascii() and port.isdecimal() and protocol != "icmp" else 0
    try:
        asked = {"from_": source, "protocol": protocol, "port": number}
        return visit.ask(get_vm_reachability, **of_vm(visit), **asked), ""
    except CumuletError as refused:
        return None, refused.message


def groups_of(vm: Vm) -> set[str]:
    """Name all security groups that its NICs are in."""
    return {group for nic in nics_of(vm) for group in nic.security_group_ids}


def last_lines(visit: Visit) -> str:
    """Give the end of what it wrote to its serial console; empty while its host cannot be asked."""
    try:
        text = visit.ask(get_vm_console_log, **of_vm(visit)).text
    except CumuletError:
        return ""
    return "\n".join(text.splitlines()[-LINES:])
