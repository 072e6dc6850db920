"""The look at the whole fabric: rows and packets' paths drift apart when others change things, and nobody tells us."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.fabric import NetworkSpec, RouterSpec
from cumulet.networks.model import ExternalAddress, Network, Router
from cumulet.networks.reconcile import Fabrics, ensure_uplink
from cumulet.networks.specs import network_spec, router_spec
from cumulet.reconcile import Kind, Run, wake

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
    _wake(run, changed)
    for data_center_id in {row.data_center_id for row in rows}:
        ensure_uplink(fabrics, fabrics.catalogue.find_data_center(data_center_id))
    orphans = fabrics.orphans
    for id in orphans.overdue("port", ports.keys() - {spec.id for _, spec in wanted}, run.now):
        fabric.remove_port(id)
    for id in orphans.overdue("network", networks.keys() - {row.id for row in rows}, run.now):
        fabric.remove_network(id)
    for id in orphans.overdue("router", routers.keys() - router_ids, run.now):
        fabric.remove_router(id)
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


def _wake(run: Run, changed: Sequence[tuple[Kind, UUID]]) -> None:
    """Have these looked at, in one order for all who wake many."""
    if changed:
        with run.writing() as db:
            for kind, id in changed:
                wake(db, kind, id, now=run.now)
