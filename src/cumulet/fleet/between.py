"""Looks after the network between hosts: OVN's databases where they are to be, certificates in time, uplinks known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.doctor.calls import Place
from cumulet.errors import CumuletError, Unavailable
from cumulet.events import EventName
from cumulet.hosts import Host, HostState, Installation, central_addresses, log_host
from cumulet.hosts.central import Look, Seen
from cumulet.hosts.overlay import Centre, Doctor, Vouching
from cumulet.journal import SYSTEM
from cumulet.line.ssh import read_destination
from cumulet.reconcile import Kind, Run, wake

log = structlog.get_logger()

LOOK: Final = timedelta(minutes=5)
SOON: Final = timedelta(seconds=30)
"""While something is in the way, or a host does not answer."""
AWAY: Final = frozenset({HostState.ADDING, HostState.SILENT, HostState.LOST})
FindDoctor = Callable[[Host], Doctor]
"""Gives the doctor's calls, done on a host; KeyError where this server has no door to it."""


@dataclass(slots=True)
class Between:
    """The looks; any server takes them."""

    find_doctor: FindDoctor
    vouching: Vouching
    catalogue: Catalogue

    def look(self, run: Run) -> datetime:
        """Take one step towards what is to be, and say when to look again."""
        with run.reading() as db:
            doctors = self._doctors(db.scalars(select(Host)).all())
        if not doctors:  # made-up hosts have none
            return run.now + LOOK
        with run.writing() as db:
            replace_lost(db, now=run.now)
            hosts = db.scalars(select(Host).order_by(Host.name)).all()
        wanted = [host.id for host in hosts if host.central]
        seen = Look(doctors, wanted, self.vouching, lambda: self._hold(run)).take()
        if seen.problem:
            log.warning("OVN's databases are not where they are to be", problem=seen.problem)
        with run.writing() as db:
            note(db, seen, now=run.now)
        if seen.has_more:
            return run.now
        self._lead_out(hosts, doctors)
        are_all_heard = seen.places.keys() == doctors.keys()
        return run.now + (LOOK if are_all_heard and not seen.problem else SOON)

    def centre(self, db: Session, peer: str) -> Centre:
        """Say which hosts have OVN's databases, for one, called `peer`, that is taken in.

        Unavailable while none of them answers that it could ask.
        """
        hosts = db.scalars(select(Host).order_by(Host.name)).all()
        having = [host for host in hosts if host.is_central] or [host for host in hosts if host.is_here]
        for doctor in self._doctors(having).values():
            return Centre(doctor, self.vouching, tuple(central_addresses(db)))
        first = [host for host in hosts if host.central]
        if not having and any(read_destination(host.uri).host == peer for host in first):
            return Centre(None, self.vouching)
        names = ", ".join(host.name for host in having or first)
        raise Unavailable(f"it must wait for {names} with OVN's databases")

    def _doctors(self, hosts: Sequence[Host]) -> dict[UUID, Doctor]:
        doctors = {}
        for host in hosts:
            if host.state not in AWAY:
                with suppress(KeyError):
                    doctors[host.id] = self.find_doctor(host)
        return doctors

    def _hold(self, run: Run) -> None:
        """Return while this look is ours; LeaseLost."""
        with run.writing():
            pass

    def _lead_out(self, hosts: Sequence[Host], doctors: Mapping[UUID, Doctor]) -> None:
        """Have OVN use a bridge of the operator's on each host that has it: that one can lead out."""
        bridges = {one.id: one.external_bridge for one in self.catalogue.data_centers}
        for host in hosts:
            bridge = bridges.get(host.data_center_id)
            if bridge and host.id in doctors:
                try:
                    doctors[host.id].ensure_operators_uplink(bridge)
                except CumuletError as problem:
                    log.info("a host does not lead out", host=host.name, problem=problem.for_operator)


def replace_lost(db: Session, *, now: datetime) -> None:
    """Choose another host for one that is lost and was to have OVN's databases."""
    hosts = db.scalars(select(Host).order_by(Host.name)).all()
    spare = [host for host in hosts if host.state is HostState.UP and not host.central]
    for host in hosts:
        if host.central and host.state is HostState.LOST and spare:
            heir = spare.pop(0)
            host.central, heir.central = False, True
            text = f"{heir.name} is to have OVN's databases in the place of {host.name}, which is lost"
            log_host(db, heir, EventName.HOST_CENTRAL, text, now=now, actor=SYSTEM)


def note(db: Session, seen: Seen[UUID], *, now: datetime) -> None:
    """Write down what a look saw; of hosts that did not answer what was seen before stays, unless all that have the databases did."""
    hosts = {host.id: host for host in db.scalars(select(Host).order_by(Host.id))}
    if seen.central and not any(host.is_central for host in hosts.values()):
        for host in hosts.values():
            if host.state is HostState.ADDING:  # it had to wait for these
                wake(db, Kind.HOST, host.id, now=now)
    for id, host in hosts.items():
        if id in seen.places:
            host.is_central, host.proved_until = id in seen.central, proved_until(seen.places[id])
        elif not seen.members:
            host.is_central = host.is_here and not seen.problem
        elif len(seen.central) == len(seen.members):
            host.is_central = False
    if seen.members and not seen.problem:
        alone_here = [id for id in seen.central if hosts[id].is_here] if len(seen.members) == 1 else []
        together = any(place.overlay and place.overlay.members for place in seen.places.values())
        db.get_one(Installation, 1).members = [] if alone_here and not together else [*seen.members]


def proved_until(place: Place) -> datetime | None:
    """Say when the first certificate ends by which OVN knows a host."""
    return min((proof.until for proof in place.proofs.values()), default=None)
