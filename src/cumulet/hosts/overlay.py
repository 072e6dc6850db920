"""The network between hosts: who has OVN's databases, and how a host is taken in. Each proves who it is with a key of its own.

servers ──▶ northbound ── northd ─▶ southbound ◀── each host, for what is its own
           └────── on one host, or on three together ──────┘
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from cumulet.doctor.calls import (
    NORTHBOUND_PORT,
    SOUTHBOUND_PORT,
    Overlay,
    Place,
    PreparedHost,
    Proof,
    find_address,
)
from cumulet.self_signed import believed_authorities, vouch_for_host

Report = Callable[[str], None]
"""Hears in words what takes time."""
RENEWED: Final = timedelta(days=200)
"""So long before its end a certificate is made anew: a quarter of its life, for hosts that are off for months."""


class Doctor(Protocol):
    """The doctor's calls, done on one host (see `cumulet.doctor.calls`)."""

    prepare_host: Callable[..., PreparedHost]
    find_address: Callable[..., str]
    propose_certificate: Callable[..., str]
    adopt_certificate: Callable[..., None]
    open_overlay: Callable[..., str]
    forget_earlier_names: Callable[..., None]
    read_place: Callable[..., Place]
    found_cluster: Callable[..., None]
    part_with: Callable[..., None]
    ensure_operators_uplink: Callable[..., None]


@dataclass(frozen=True, slots=True)
class Vouching:
    """Who vouches for hosts: one authority for what is a host's own, another one for those that have OVN's databases."""

    hosts: Path
    central: Path
    """Folders of an authority's key and certificates."""
    now: Callable[[], datetime]

    @classmethod
    def below(cls, folder: Path, now: Callable[[], datetime]) -> Vouching:
        """Name those of a cloud that keeps its secrets in a folder."""
        return cls(folder / "overlay", folder / "central", now)

    def certify(self, host: Doctor, chassis: str, proof: Proof) -> None:
        """Give a host a certificate for its name in OVN."""
        request, now = host.propose_certificate(proof), self.now()
        is_central = proof is Proof.CENTRAL
        signed_by = self.central if is_central else self.hosts
        certificate = vouch_for_host(signed_by, request, chassis, now, serves=is_central)
        host.adopt_certificate(proof, certificate, self.believed(), self.heard() if is_central else "")

    def believed(self) -> str:
        """Name (PEM) those whose word counts as that of a host with OVN's databases, or of a server."""
        return believed_authorities(self.central, self.now())

    def heard(self) -> str:
        """Name (PEM) those whose hosts the southbound database hears."""
        return self.believed() + believed_authorities(self.hosts, self.now())

    def due(self, place: Place, *, central: bool) -> Iterator[Proof]:
        """Name the proofs that a host lacks, or is soon without."""
        for proof in Proof if central else (Proof.HOST,):
            found = place.proofs.get(proof)
            heard = self.heard() if proof is Proof.CENTRAL else ""
            if (
                found is None
                or found.until < self.now() + RENEWED
                or (found.believed, found.heard) != (self.believed(), heard)
            ):
                yield proof


@dataclass(frozen=True, slots=True)
class Centre:
    """The hosts that have OVN's databases, as one that is taken in meets them."""

    doctor: Doctor | None
    """Of one of them; None where there is none yet."""
    vouching: Vouching
    members: tuple[str, ...] = ()
    """The addresses by which all others reach them; () for the one that has them alone, by whichever it shares with each."""

    def take_in(
        self,
        host: Doctor,
        peer: str,
        report: Report = lambda _: None,
        *,
        packages: tuple[str, ...] = (),
        find_own_address: Callable[[str], str] = find_address,
    ) -> PreparedHost:
        """Prepare a host, called `peer`, in its place in the network; repeatable. The first one of all has the databases.

        `packages` are Debian packages needed there besides the host's own. `find_own_address` says by which address this server
        reaches a machine.

        CommandFailed says which step failed.
        """
        if self.doctor is None:
            there = host.find_address(find_own_address(peer))
            prepared = host.prepare_host(report, packages=packages, overlay=Overlay(there))
            self.open_to(host, there)
            return prepared
        here = self.members[0] if self.members else self.doctor.find_address(peer)
        southbound = southbound_at(self.members) if self.members else self.open_to(self.doctor, here)
        there = host.find_address(here)
        prepared = host.prepare_host(report, packages=packages, overlay=Overlay(there, southbound))
        self.doctor.forget_earlier_names(prepared.chassis, there)
        self.vouching.certify(host, prepared.chassis, Proof.HOST)
        return prepared

    def open_to(self, central: Doctor, address: str) -> str:
        """Let hosts and servers ask the databases at an address of the host that has them, and say where the southbound one is."""
        chassis = central.prepare_host().chassis
        for proof in Proof:
            self.vouching.certify(central, chassis, proof)
        return central.open_overlay(address)


def northbound_at(members: Collection[str]) -> str:
    """Write where the northbound databases of these addresses are."""
    return ",".join(f"ssl:{address}:{NORTHBOUND_PORT}" for address in members)


def southbound_at(members: Collection[str]) -> str:
    """Write where the southbound databases of these addresses are."""
    return ",".join(f"ssl:{address}:{SOUTHBOUND_PORT}" for address in members)
