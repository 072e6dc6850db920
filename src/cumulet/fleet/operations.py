"""What operators see of hosts, and what they ask of one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cumulet.db import names_there
from cumulet.disks import home_elsewhere
from cumulet.errors import Invalid, NotFound, Refused
from cumulet.events import EventName
from cumulet.fleet.views import copies_of_images, host_view, read_load, vms_on, way_to, what_remains
from cumulet.fleet.wire import (
    AskOfHost,
    DrainHost,
    GetHostResponse,
    LabelHost,
    ListHostsResponse,
    ListImageCopiesResponse,
    LoseHost,
)
from cumulet.gpus import Gpu, forget_gpus
from cumulet.hosts import Host, HostState, HostWanted, asked, change_standing, is_shown, log_host
from cumulet.images import ImageStore
from cumulet.images.copies import NotedCopy
from cumulet.operation import Access, Caller, operation
from cumulet.permission import Role
from cumulet.projects import read_page
from cumulet.reconcile import Due, Kind, wake
from cumulet.vms import give_up, wait_elsewhere
from cumulet.wire import Empty

LONGEST_REASON: Final = 500
MOST_LABELS: Final = 64
LONGEST_LABEL: Final = 63


@operation("GET /v1/hosts", access=Access.DATA_CENTER_VIEWER)
def list_hosts(db: Session, caller: Caller, *, page_size: int = 0, page_token: str = "") -> ListHostsResponse:
    """List the hosts with what of them is reserved, by their ids.

    Only for auditors and operators, and, of theirs, those who look after a data center.
    """
    page = read_page(0, page_size, page_token)
    chosen = (
        select(Host)
        .where(is_shown(caller), *page.following(Host.name))
        .order_by(Host.name)
        .limit(page.size + 1)
    )
    found, token = page.cut(db.scalars(chosen).all(), lambda host: (host.name,))
    load = read_load(db)
    return ListHostsResponse(
        hosts=[host_view(host, load) for host in found], page_token=token, page_size=page.size
    )


@operation("GET /v1/hosts/{id}", access=Access.DATA_CENTER_VIEWER)
def get_host(db: Session, caller: Caller, images: ImageStore, *, id: str) -> GetHostResponse:
    """Show a host, what keeps it from being removed, and which images lie there.

    Only for auditors and operators, and those who look after its data center.
    """
    host = find_host(db, caller, id)
    destination, host_key = way_to(host)
    return GetHostResponse(
        host=host_view(host, read_load(db)),
        destination=destination,
        host_key=host_key,
        remains=[*what_remains(db, host)],
        stays=host.stays if host.wanted is HostWanted.DRAINED else {},
        vms=vms_on(db, host),
        images=copies_of_images(db, images, NotedCopy.host_id == host.id),
    )


@operation("GET /v1/image-copies", access=Access.AUDITOR)
def list_image_copies(db: Session, images: ImageStore, *, image_id: str = "") -> ListImageCopiesResponse:
    """List the copies of images on hosts; with `imageId`, a public image's or `PROJECT:IMAGE`, only those of that one.

    Only for auditors and operators.
    """
    copies = copies_of_images(db, images)
    if not image_id:
        return ListImageCopiesResponse(image_id="", copies=copies)
    id = image_id if ":" in image_id else images.find(image_id).id
    return ListImageCopiesResponse(image_id=id, copies=[copy for copy in copies if copy.id == id])


@operation("PUT /v1/hosts/{id}/labels", access=Access.DATA_CENTER_EDITOR)
def label_host(db: Session, caller: Caller, *, now: datetime, id: str, data: LabelHost) -> Empty:
    """Give a host these labels and no others; machine types choose hosts by them. VMs that are there stay.

    Only for operators, and editors of its data center.
    """
    give_labels(db, lock_host(db, caller, id), data.labels, now=now, actor=caller.email)
    return Empty()


@operation("POST /v1/hosts/{id}/cordon", access=Access.DATA_CENTER_EDITOR)
def cordon_host(db: Session, caller: Caller, *, now: datetime, id: str, data: AskOfHost) -> Empty:
    """Place nothing new on a host; what is there stays and can be started and stopped.

    Only for operators, and editors of its data center.
    """
    return ask_of_host(db, caller, id, HostWanted.CORDONED, data.reason, now=now)


@operation("POST /v1/hosts/{id}/drain", access=Access.DATA_CENTER_EDITOR)
def drain_host(db: Session, caller: Caller, *, now: datetime, id: str, data: DrainHost) -> Empty:
    """Place nothing new on a host, and move what is there elsewhere; it is in MAINTENANCE once nothing runs there.

    VMs that run go only with `restart`, which shuts them down for it. Which stay, and why, GetHost tells. Only for
    operators, and editors of its data center.
    """
    host = lock_host(db, caller, id)
    host.drain_restarts, host.stays = data.restart, {}
    return ask_of_host(db, caller, id, HostWanted.DRAINED, data.reason, now=now)


@operation("POST /v1/hosts/{id}/uncordon", access=Access.DATA_CENTER_EDITOR)
def uncordon_host(db: Session, caller: Caller, *, now: datetime, id: str) -> Empty:
    """Let a host have VMs again that was cordoned or drained.

    Only for operators, and editors of its data center.
    """
    return ask_of_host(db, caller, id, HostWanted.UP, "", now=now)


@operation("POST /v1/hosts/{id}/examine", access=Access.DATA_CENTER_EDITOR)
def examine_host(db: Session, caller: Caller, *, now: datetime, id: str) -> Empty:
    """Have a host's doctor look at it now, as it does every quarter of an hour; what it finds is told by GetHost.

    Only for operators, and editors of its data center.
    """
    wake(db, Kind.EXAMINATION, find_host_to_change(db, caller, id).id, now=now)
    return Empty()


@operation("POST /v1/hosts/{id}/lost", access=Access.OPERATOR)
def lose_host(db: Session, caller: Caller, *, now: datetime, id: str, data: LoseHost) -> Empty:
    """Give a silent host up, on the operator's word that nothing runs on it any more.

    VMs whose disks lie elsewhere are started elsewhere; those on its own disks can be terminated. Only for operators.
    """
    host = lock_host_to_change(db, caller, id, now=now)
    if data.confirm != id:
        raise Invalid.field("confirm", data.confirm, f"{id!r}: your word that nothing runs on it any more")
    if host.state not in {HostState.SILENT, HostState.LOST}:
        raise Refused(
            f"host {id!r} is {host.state.value}: only one that is SILENT can be given up",
            reason="HOST_NOT_SILENT",
            subject=id,
        )
    proof = f"{caller.email} confirmed that nothing runs on it any more"
    give_up(db, host, proof, now=now, actor=caller.email)
    return Empty()


@operation("DELETE /v1/hosts/{id}", access=Access.OPERATOR)
def remove_host(db: Session, caller: Caller, *, now: datetime, id: str) -> Empty:
    """Take a host out of the cloud, once nothing is on it any more; the machine itself stays as it is.

    Only for operators.
    """
    db.execute(delete(Due).where(Due.kind == Kind.HOST, Due.id == find_host(db, caller, id).id))
    host = lock_host(db, caller, id)
    if remains := what_remains(db, host):
        raise Refused(
            f"host {id!r} cannot be removed: on it there is still {', '.join(remains)}; move or delete that first",
            reason="HOST_NOT_EMPTY",
            subject=id,
        )
    if host.is_central or host.central:
        raise Refused(
            f"host {id!r} has OVN's databases, or is to have them: choose other hosts first (cumulet host central), and try "
            "again in a minute",
            reason="HOST_IS_CENTRAL",
            subject=id,
        )
    wait_elsewhere(db, host)
    home_elsewhere(db, host)
    log_host(db, host, EventName.HOST_REMOVED, f"{id} is removed", now=now, actor=caller.email)
    looks = [host.id, *db.scalars(select(Gpu.id).where(Gpu.host_id == host.id))]
    db.execute(delete(Due).where(Due.id.in_(looks)))
    forget_gpus(db, host.id)
    db.delete(host)
    return Empty()


def find_host(db: Session, caller: Caller, id: str) -> Host:
    """Find a host by its id; NotFound names those that are there for its caller."""
    host = db.scalar(select(Host).where(Host.name == id, is_shown(caller)))
    if host is None:
        raise NotFound.named("host", id, names_there(db, Host.name, is_shown(caller)))
    return host


def find_host_to_change(db: Session, caller: Caller, id: str) -> Host:
    """Find a host that its caller may change; NotFound, Forbidden."""
    host = find_host(db, caller, id)
    caller.refuse_in(host.data_center_id, Role.EDITOR)
    return host


def lock_host(db: Session, caller: Caller, id: str) -> Host:
    """Find a host that its caller may change and lock it, so that nobody places there meanwhile; NotFound, Forbidden."""
    return db.get_one(
        Host, find_host_to_change(db, caller, id).id, with_for_update=True, populate_existing=True
    )


def lock_host_to_change(db: Session, caller: Caller, id: str, *, now: datetime) -> Host:
    """Find a host, have it looked at once that is done, and lock it; its due row first, as the look at it does."""
    wake(db, Kind.HOST, find_host_to_change(db, caller, id).id, now=now)
    return lock_host(db, caller, id)


def ask_of_host(
    db: Session, caller: Caller, id: str, wanted: HostWanted, reason: str, *, now: datetime
) -> Empty:
    """Write down what an operator asks of a host, and have it looked at."""
    if len(reason) > LONGEST_REASON:
        raise Invalid.field("reason", reason, f"at most {LONGEST_REASON} characters")
    host = lock_host_to_change(db, caller, id, now=now)
    change_standing(db, host, asked(host.standing, wanted, now, reason), now=now, actor=caller.email)
    return Empty()


def give_labels(db: Session, host: Host, labels: dict[str, str], *, now: datetime, actor: str) -> None:
    """Have a host have these labels and no others; Invalid."""
    check_labels(labels)
    host.labels = labels
    words = ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "none"
    log_host(db, host, EventName.HOST_LABELLED, f"its labels are {words}", now=now, actor=actor)


def check_labels(labels: Mapping[str, str]) -> None:
    """Return when these may be a host's labels; Invalid."""
    if len(labels) > MOST_LABELS:
        raise Invalid.field("labels", f"{len(labels)} labels", f"at most {MOST_LABELS}")
    for key, value in labels.items():
        if not key or max(len(key), len(value)) > LONGEST_LABEL or "=" in key:
            raise Invalid.field(
                "labels",
                f"{key}={value}",
                f"keys without '=' and values of at most {LONGEST_LABEL} characters",
            )
