"""The look at the whole fabric: rows and packets' paths drift apart when others change things, and nobody tells us."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.fabric import NetworkSpec, PortSpec, RouterSpec
from cumulet.networks.model import ExternalAddress, Network, Router
from cumulet.networks.reconcile import Fabrics, ensure_uplink
from cumulet.networks.specs import network_spec, port_specs, router_spec
from cumulet.reconcile import Kind, Run, wake

SWEEP: Final = timedelta(seconds=30)


def sweep_fabric(run: Run, fabrics: Fabrics) -> datetime:
    """Wake what differs from its row, remove what is ours and has had no owner for a while; look again later."""
    fabric = fabrics.fabric
    routers, networks, ports = fabric.routers(), fabric.networks(), fabric.ports()
    with run.writing() as db:
        network_rows = _wake_changed_networks(db, run, fabrics, routers, networks)
        nic_ids = _wake_changed_ports(db, run, ports)
        router_ids = frozenset(db.scalars(select(Router.id)))
    for data_center_id in {row.data_center_id for row in network_rows.values()}:
        ensure_uplink(fabrics, fabrics.catalogue.find_data_center(data_center_id))
    orphans = fabrics.orphans
    for id in orphans.overdue("port", ports.keys() - nic_ids, run.now):
        fabric.remove_port(id)
    for id in orphans.overdue("network", networks.keys() - network_rows.keys(), run.now):
        fabric.remove_network(id)
    for id in orphans.overdue("router", routers.keys() - router_ids, run.now):
        fabric.remove_router(id)
    return run.now + SWEEP


def _wake_changed_networks(
    db: Session,
    run: Run,
    fabrics: Fabrics,
    routers: Mapping[UUID, RouterSpec],
    networks: Mapping[UUID, NetworkSpec],
) -> Mapping[UUID, Network]:
    rows = {row.id: row for row in db.scalars(select(Network))}
    held = select(Router, ExternalAddress.address).join(
        ExternalAddress, ExternalAddress.holder_id == Router.id
    )
    router_rows = {router.id: (router, IPv4Address(address)) for router, address in db.execute(held)}
    for row in rows.values():
        data_center = fabrics.catalogue.find_data_center(row.data_center_id)
        router = router_spec(*router_rows[row.router_id], fabrics.external_spec(data_center))
        if networks.get(row.id) != network_spec(row, data_center) or routers.get(row.router_id) != router:
            wake(db, Kind.NETWORK, row.id, now=run.now)
    return rows


def _wake_changed_ports(db: Session, run: Run, ports: Mapping[UUID, PortSpec]) -> frozenset[UUID]:
    wanted = port_specs(db)
    for vm_id, spec in wanted:  # in one order for all who wake many
        if ports.get(spec.id) != spec:
            wake(db, Kind.VM, vm_id, now=run.now)
    return frozenset(spec.id for _, spec in wanted)
