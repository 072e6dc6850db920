"""Networks: a map of them all, each with what is on it, and what their forms do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any, Final

from cumulet.networks.operations import (
    create_network,
    delete_network,
    get_network,
    list_networks,
    start_network,
    stop_network,
)
from cumulet.networks.wire import CreateNetwork, NetworkAnswer, NetworkState
from cumulet.vms.offers import list_vm_data_centers
from cumulet.web.lets_pass import lets_in
from cumulet.web.listings import ConnectedVm, all_groups, all_of, all_vms
from cumulet.web.network_map import Attached, attached_to, map_of
from cumulet.web.paging import Paged
from cumulet.web.site import form, page
from cumulet.web.visit import Gone, Shown, Visit
from cumulet.web.vm_states import State, state_of_vm
from cumulet.wire import decode

NETWORKS: Final = "/p/{project_id:str}/networks"
NETWORK: Final = f"{NETWORKS}/{{id:str}}"
NEW: Final = "/p/{project_id:str}/new-network"
WORDS: Final[Mapping[NetworkState, tuple[str, str]]] = {
    NetworkState.ACTIVE: ("good", "Connected"),
    NetworkState.CREATING: ("wait", "Coming"),
    NetworkState.STARTING: ("wait", "Connecting"),
    NetworkState.STOPPED: ("off", "Disconnected"),
    NetworkState.STOPPING: ("wait", "Disconnecting"),
    NetworkState.DELETING: ("wait", "Going"),
}
OTHER: Final = ("bad", "Failed")


@page(NETWORKS, live=True)
def networks_page(visit: Visit) -> Shown:
    """Show all of them, on a map and in a list."""
    networks = all_of(visit, list_networks, "networks")
    attached = attached_to(networks, all_vms(visit, ConnectedVm))
    return visit.show(
        "networks/list.html",
        networks=networks,
        attached=attached,
        states={one.id: state_of(one) for one in networks},
        map=map_of(networks, attached) if networks else None,
        vm_state=lambda one: state_of_vm(one.vm.state),
        opens=opens(visit),
    )


@page(NEW)
def new_page(visit: Visit) -> Shown:
    """Show the form for a new one."""
    networks = all_of(visit, list_networks, "networks")
    data_centers = [(one.id, one.id) for one in visit.ask(list_vm_data_centers).data_centers]
    return visit.show("networks/create.html", data_centers=data_centers, free=free_range(networks))


@page(NETWORK, live=True)
def network_page(visit: Visit) -> Shown:
    """Show one, and what is on it."""
    return show(visit, "networks/network.html")


@page(f"{NETWORK}/delete")
def delete_page(visit: Visit) -> Shown:
    """Say what goes with it, and what is on it still."""
    return show(visit, "networks/delete.html")


@form(NEW, on=new_page)
def create(visit: Visit) -> Gone:
    """Create it."""
    raw = {name: visit.given(name) for name in ("id", "dataCenterId", "ipRange")}
    made = visit.ask(create_network, project_id=visit.project_id, data=decode(CreateNetwork, raw))
    return Gone(visit.url("networks", made.id))


@form(f"{NETWORK}/start", on=network_page)
def start(visit: Visit) -> Gone:
    """Connect it again."""
    visit.ask(start_network, **of_network(visit))
    return Gone(visit.url("networks", visit.names["id"]))


@form(f"{NETWORK}/stop", on=network_page)
def stop(visit: Visit) -> Gone:
    """Disconnect it from all others and the Internet."""
    visit.ask(stop_network, **of_network(visit))
    return Gone(visit.url("networks", visit.names["id"]))


@form(f"{NETWORK}/delete", on=delete_page)
def delete(visit: Visit) -> Gone:
    """Delete it."""
    visit.ask(delete_network, **of_network(visit))
    return Gone(visit.url("networks"))


def show(visit: Visit, template: str) -> Shown:
    """Show a page of a network."""
    network = visit.ask(get_network, **of_network(visit)).network
    attached = attached_to([network], all_vms(visit, ConnectedVm))[network.id]
    return visit.show(
        template,
        network=network,
        attached=attached,
        pages=Paged(visit, attached),
        state=state_of(network),
        vm_state=lambda one: state_of_vm(one.vm.state),
        opens=opens(visit),
    )


def opens(visit: Visit) -> Any:  # noqa: ANN401 - a function for templates
    """Give what says of a NIC what gets in."""
    groups = all_groups(visit)

    def said(one: Attached) -> str:
        return lets_in([groups[id] for id in one.nic.security_group_ids if id in groups])

    return said


def of_network(visit: Visit) -> dict[str, Any]:
    """Name it, as operations want that."""
    return {"project_id": visit.project_id, "id": visit.names["id"]}


def state_of(network: NetworkAnswer) -> State:
    """Say how a network is."""
    tone, word = WORDS.get(network.state, OTHER)
    return State(tone, word, network.waiting_for or (network.problem if tone != "good" else ""))


def free_range(networks: Sequence[NetworkAnswer]) -> str:
    """Propose a range that none of these has; empty when all of those that are tried are taken."""
    used = [IPv4Network(one.ip_range) for one in networks]
    tried = (IPv4Network(f"10.{number}.0.0/24") for number in range(1, 256))
    return next((str(one) for one in tried if not any(one.overlaps(other) for other in used)), "")
