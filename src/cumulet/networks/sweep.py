"""The look at the whole fabric: rows and packets' paths drift apart when others change things, and nobody tells us."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.errors import few_of
from cumulet.events import EventName
from cumulet.fabric import NetworkSpec, RouterSpec
from cumulet.journal import log_event
from cumulet.networks.model import ExternalAddress, Network, Router
from cumulet.networks.reconcile import Fabrics, ensure_uplink
from cumulet.networks.specs import network_spec, router_spec
from cumulet.reconcile import Due, Kind, Run, wake
from cumulet.vm_record import Vm

log = structlog.get_logger()

MOST_NAMED: Final = 20
SWEEP: Final = timedelta(seconds=30)


def sweep_fabric(run: Run, fabrics: Fabrics) -> datetime:
    """Wake what differs from its row, remove what is ours and has had no owner for a while; look again later."""
    fabric = fabrics.fabric
    routers, networks, ports = fabric.routers(), fabric.networks(), fabric.ports()
    with run.reading() as db:
        rows = db.scalars(select(Network).order_by(Network.id)).all()
        changed = [(Kind.NETWORK, id) for id in _changed_networks(db, rows, fabrics, routers, networks)]
        router_ids = frozenset(db.scalars(select(Router.id)))
        wanted = fabrics.port_specs.read(db)
    changed += [(Kind.VM, vm_id) for vm_id, spec in wanted if ports.get(spec.id) != spec]
    _correct(run, changed)
    for data_center_id in {row.data_center_id for row in rows}:
        ensure_uplink(fabrics, fabrics.catalogue.find_data_center(data_center_id))
    there = (
        ("port", ports.keys() - {spec.id for _, spec in wanted}, fabric.remove_port),
        ("network", networks.keys() - {row.id for row in rows}, fabric.remove_network),
        ("router", routers.keys() - router_ids, fabric.remove_router),
    )
    removed = []
    for kind, ids, remove in there:
        for id in fabrics.orphans.overdue(kind, ids, run.now):
            remove(id)
            removed.append(f"{kind} {id}")
    if removed:
        _tell(
            run,
            EventName.FABRIC_LEFTOVERS_REMOVED,
            f"removed what nobody has any more: {few_of(removed, most=MOST_NAMED)}",
        )
    return run.now + SWEEP


def _changed_networks(
    db: Session,
    rows: Sequence[Network],
    fabrics: Fabrics,
    routers: Mapping[UUID, RouterSpec],
    networks: Mapping[UUID, NetworkSpec],
) -> Iterator[UUID]:
    held = select(Router, ExternalAddress.address).join(
        ExternalAddress, ExternalAddress.holder_id == Router.id
    )
    router_rows = {router.id: (router, IPv4Address(address)) for router, address in db.execute(held)}
    data_centers = {id: fabrics.catalogue.find_data_center(id) for id in {row.data_center_id for row in rows}}
    uplinks = {id: fabrics.external_spec(data_center) for id, data_center in data_centers.items()}
    for row in rows:
        data_center = data_centers[row.data_center_id]
        router = router_spec(*router_rows[row.router_id], uplinks[row.data_center_id])
        if networks.get(row.id) != network_spec(row, data_center) or routers.get(row.router_id) != router:
            yield row.id


def _correct(run: Run, changed: Sequence[tuple[Kind, UUID]]) -> None:
    """Have these looked at, in one order for all who wake many; tell of those that were settled, which others changed."""
    if not changed:
        return
    with run.writing() as db:
        ids = [id for _, id in changed]
        under_way = set(db.scalars(select(Due.id).where(Due.id.in_(ids), Due.since.is_not(None))))
        for kind, id in changed:
            wake(db, kind, id, now=run.now)
        words = sorted(
            f"{what} {one.name} of {one.project_id}"
            for what, model in (("network", Network), ("VM", Vm))
            for one in db.scalars(select(model).where(model.id.in_({*ids} - under_way)))
        )
    if words:
        _tell(
            run,
            EventName.FABRIC_CORRECTED,
            f"not as it should be, and made so again: {few_of(words, most=MOST_NAMED)}",
        )


def _tell(run: Run, name: EventName, text: str) -> None:
    """Write a line about the fabric into the journal."""
    log.warning("the fabric was not as it should be", event_name=name.value, what=text)
    with run.writing() as db:
        log_event(db, name, at=run.now, project_id="", subject_id=run.id, text=text)
