"""The verbs of networks: who may, does the range fit, write down what is wanted, wake."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Network
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, DataCenter
from cumulet.errors import Invalid, Refused
from cumulet.events import EventName
from cumulet.hosts import host_routes
from cumulet.ids import check_id
from cumulet.networks.addresses import plan_range
from cumulet.networks.make import default_network_name, make_network
from cumulet.networks.model import Network, Nic
from cumulet.networks.views import network_view, network_views
from cumulet.networks.wire import (
    CreateNetwork,
    GetNetworkResponse,
    ListNetworksResponse,
    NetworkAnswer,
    NetworkState,
)
from cumulet.operation import Access, Caller, States, operation
from cumulet.projects import fetch_page, lock_project, read_page
from cumulet.quotas import lock_allowance
from cumulet.reconcile import Kind, wake
from cumulet.resource import Wanted, find, log_request, refuse_taken
from cumulet.vm_record import refuse_used
from cumulet.wire import Empty


@operation("POST /v1/projects/{projectId}/networks", access=Access.EDITOR)
def create_network(
    db: Session, caller: Caller, *, catalogue: Catalogue, now: datetime, project_id: str, data: CreateNetwork
) -> NetworkAnswer:
    """Create a private network for VMs, with a router that connects it to the Internet.

    Answers as soon as the request is stored; the network is CREATING, then ACTIVE.
    """
    check_id("id", data.id)
    with Invalid.reference("dataCenterId"):
        data_center = catalogue.find_data_center(data.data_center_id)
    allowance = lock_allowance(db, project_id, catalogue.quotas)
    refuse_taken(db, Network, project_id, data.id, field="id")
    field, text = ("cidrPrefix", data.cidr_prefix) if data.cidr_prefix else ("ipRange", data.ip_range)
    if data.cidr_prefix and data.ip_range not in {"", data.cidr_prefix}:
        raise Invalid.field("cidrPrefix", data.cidr_prefix, "the same as ipRange, or only one of them")
    range_ = plan_range(field, text, ranges_in_use(db, catalogue, data_center))
    refuse_overlap(db, field, range_, project_id)
    network = make_network(db, allowance, data.id, data_center, range_=range_, now=now)
    log_request(
        db,
        caller,
        network,
        EventName.NETWORK_CREATE_REQUESTED,
        f"network {data.id} with range {range_}",
        now=now,
    )
    return network_view(db, network)


@operation("GET /v1/projects/{projectId}/networks", access=Access.VIEWER)
def list_networks(
    db: Session,
    *,
    project_id: str,
    page_number: int = 0,
    page_size: int = 0,
    page_token: str = "",
) -> ListNetworksResponse:
    """List the project's networks by id."""
    page = read_page(page_number, page_size, page_token)
    mine = select(Network).where(Network.project_id == project_id)
    networks, total, token = fetch_page(db, mine, page, Network.name)
    return ListNetworksResponse(
        networks=network_views(db, networks),
        total_count=total,
        page_number=page.number,
        page_size=page.size,
        page_token=token,
    )


STATES: Final = States(
    "network", rests=("ACTIVE", "STOPPED"), vain=frozenset({"FAILED", "DELETING", "DELETED"})
)


@operation("GET /v1/projects/{projectId}/networks/{id}", access=Access.VIEWER, states=STATES)
def get_network(db: Session, *, project_id: str, id: str) -> GetNetworkResponse:
    """Show a network."""
    answer = network_view(db, find(db, Network, project_id, id))
    return GetNetworkResponse(
        **{name: getattr(answer, name) for name in answer.__struct_fields__}, network=answer
    )


@operation("DELETE /v1/projects/{projectId}/networks/{id}", access=Access.EDITOR)
def delete_network(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Delete a network that no VM has a NIC on; of those that are being terminated it waits a moment for the end."""
    network = find_network_to_change(db, now=now, project_id=project_id, id=id)
    refuse_used(
        db,
        f"network {id!r}",
        select(Nic.vm_id).where(Nic.network_id == network.id),
        "terminate them first",
        reason="ERROR_REASON_UNSPECIFIED",
        subject=id,
    )
    if network.wanted is not Wanted.DELETED:
        network.wanted, network.state = Wanted.DELETED, NetworkState.DELETING
        log_request(db, caller, network, EventName.NETWORK_DELETE_REQUESTED, "deletion requested", now=now)
    return Empty()


@operation("POST /v1/projects/{projectId}/networks/{id}/start", access=Access.EDITOR)
def start_network(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Connect a stopped network to the others and the Internet again."""
    network = find_network_to_change(db, now=now, project_id=project_id, id=id)
    accept_network(network, "start", Wanted.STOPPED)
    network.wanted, network.state = Wanted.ACTIVE, NetworkState.STARTING
    log_request(db, caller, network, EventName.NETWORK_START_REQUESTED, "start requested", now=now)
    return Empty()


@operation("POST /v1/projects/{projectId}/networks/{id}/stop", access=Access.EDITOR)
def stop_network(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Disconnect a network from the others and the Internet; its VMs still reach each other."""
    network = find_network_to_change(db, now=now, project_id=project_id, id=id)
    accept_network(network, "stop", Wanted.ACTIVE)
    network.wanted, network.state = Wanted.STOPPED, NetworkState.STOPPING
    log_request(db, caller, network, EventName.NETWORK_STOP_REQUESTED, "stop requested", now=now)
    return Empty()


def accept_network(network: Network, verb: str, needed: Wanted) -> None:
    """Return when the verb is acceptable; Refused otherwise."""
    if network.wanted is needed and network.state is not NetworkState.CREATING:
        return
    message = (
        f"cannot {verb} network {network.name!r}: it is {network.state.value} and must be {needed.value}"
    )
    passing = network.wanted is needed
    raise Refused(message, reason="NETWORK_NOT_READY", subject=network.name, passing=passing)


def refuse_overlap(db: Session, field: str, range_: IPv4Network, project_id: str) -> None:
    """Refuse a range of which other networks of the project use some; that passes when they are being deleted."""
    mine = db.scalars(select(Network).where(Network.project_id == project_id)).all()
    used = [network for network in mine if network.subnet.overlaps(range_)]
    if used:
        passing = all(network.wanted is Wanted.DELETED for network in used)
        other = next(network for network in used if passing or network.wanted is not Wanted.DELETED)
        accepted = f"a range that does not overlap {other.range}, which network {other.name} uses"
        raise Invalid.field(field, str(range_), accepted, passing=passing)


def ranges_in_use(db: Session, catalogue: Catalogue, data_center: DataCenter) -> Mapping[IPv4Network, str]:
    """Say which ranges no network of a data center may overlap, and what each of those is."""
    used = dict.fromkeys(host_routes(db, data_center.id), "which a host reaches directly")
    used |= {
        one.external_range: f"the external range of data center {one.id}" for one in catalogue.data_centers
    }
    used[data_center.network_range] = f"which network {default_network_name(data_center.id)} uses"
    return used


def find_network_to_change(db: Session, *, now: datetime, project_id: str, id: str) -> Network:
    """Find a network for a verb, and have it looked at once that is done; NotFound, Forbidden.

    It is woken first, then locked and read: reconcilers too lock the due row before all else.
    """
    seen = find(db, Network, project_id, id)
    wake(db, Kind.NETWORK, seen.id, now=now)
    lock_project(db, project_id)
    db.expire(seen)
    return find(db, Network, project_id, id)
