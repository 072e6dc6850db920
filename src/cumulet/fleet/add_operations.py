"""Adding a host: a machine that answers SSH becomes part of the cloud."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.errors import AlreadyExists, Invalid
from cumulet.events import EventName
from cumulet.fleet.operations import check_labels, give_labels
from cumulet.fleet.views import host_view, read_load
from cumulet.fleet.wire import AddHost, GetHostKeyResponse, HostAnswer
from cumulet.hosts import Host, Installation, log_host, new_host
from cumulet.ids import check_id
from cumulet.line.ssh import Destination, fingerprint, read_destination
from cumulet.operation import Access, Caller, operation
from cumulet.reconcile import Kind, wake


@operation("POST /v1/hosts", access=Access.OPERATOR)
def add_host(
    db: Session, caller: Caller, catalogue: Catalogue, *, now: datetime, data: AddHost
) -> HostAnswer:
    """Make a machine part of the cloud that answers SSH and lets the cloud's key in; it is ADDING until it is UP.

    What is being done, or why it failed, is its `why`; it is tried again every half minute, and at once when it is
    added again. Labels that are given then are added to its own, and `hostKey` takes the place of the key by which it
    was known. Only for operators.
    """
    destination = destination_of(data)
    id = data.id or name_in(destination.host)
    check_id("id", id)
    check_labels(data.labels)
    data_center_id = data.data_center_id or catalogue.data_centers[0].id
    with Invalid.reference("dataCenterId"):
        catalogue.find_data_center(data_center_id)
    host = db.scalar(select(Host).where(Host.name == id).with_for_update())
    if host is None:
        host = new_host(id, data_center_id, destination.uri, labels=data.labels, now=now)
        host.central = is_first(db)
        db.add(host)
        db.flush()
        log_host(db, host, EventName.HOST_ADDING, f"{id} is being added", now=now, actor=caller.email)
    else:
        add_again(db, host, destination, data, now=now, actor=caller.email)
    wake(db, Kind.HOST, host.id, now=now)
    return host_view(host, read_load(db))


def add_again(
    db: Session, host: Host, destination: Destination, data: AddHost, *, now: datetime, actor: str
) -> None:
    """Take up what is said anew of a host that is there; AlreadyExists when it is another machine, or stands elsewhere."""
    if not leads_to(host.uri, destination):
        raise AlreadyExists(
            f"there is a host {host.name!r} already, and it is another machine; give this one another id"
        )
    if data.data_center_id not in {"", host.data_center_id}:
        raise AlreadyExists(
            f"host {host.name!r} is in data center {host.data_center_id!r} already; remove it there first"
        )
    if destination.host_key and destination.uri != host.uri:
        host.uri = destination.uri
        text = f"its SSH key is {fingerprint(destination.host_key)} from now on"
        log_host(db, host, EventName.HOST_ADDING, text, now=now, actor=actor)
    if not data.labels.items() <= host.labels.items():
        give_labels(db, host, {**host.labels, **data.labels}, now=now, actor=actor)


@operation("GET /v1/host-key", access=Access.OPERATOR)
def get_host_key(*, ssh_key: str) -> GetHostKeyResponse:
    """Show the public key by which this server reaches hosts: it belongs into root's authorized_keys there.

    Only for operators.
    """
    return GetHostKeyResponse(public_key=ssh_key)


def destination_of(data: AddHost) -> Destination:
    """Read where a machine is, and what it proves itself by; Invalid."""
    try:
        destination = read_destination(f"ssh://{data.destination}")
    except Invalid:
        raise Invalid.field("destination", data.destination, "[root@]HOST[:PORT]") from None
    if destination.user != "root":
        raise Invalid.field("destination", data.destination, "root: nobody else can make a machine a host")
    try:
        if data.host_key:
            fingerprint(data.host_key)
    except (ValueError, IndexError):
        raise Invalid.field(
            "hostKey", data.host_key, "a public key as in /etc/ssh/ssh_host_ed25519_key.pub"
        ) from None
    return replace(destination, host_key=" ".join(data.host_key.split()[:2]))


def name_in(host: str) -> str:
    """Read in a host name what the machine calls itself; Invalid for an address, which does not tell."""
    with suppress(ValueError):
        ip_address(host)
        raise Invalid.field(
            "id", "", f"what the machine at {host} calls itself, as `hostname` prints it there"
        )
    return host.partition(".")[0]


def is_first(db: Session) -> bool:
    """Whether there is no host yet that has OVN's databases or is to have them; who asks at the same time waits."""
    db.get(Installation, 1, with_for_update=True)
    hosts = db.scalars(select(Host)).all()
    return not any(host.is_here or host.central or host.is_central for host in hosts)


def leads_to(uri: str, destination: Destination) -> bool:
    """Whether a host's URI leads to that machine."""
    if not uri.startswith("ssh://"):
        return False
    known = read_destination(uri)
    return (known.host, known.port) == (destination.host, destination.port)
