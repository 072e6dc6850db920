"""Takes a host into the network between hosts: it and the host with OVN's databases learn of each other, each with a key of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cumulet.doctor.calls import Overlay, PreparedHost
from cumulet.self_signed import vouch_for_host

Report = Callable[[str], None]
"""Hears in words what takes time."""


class Doctor(Protocol):
    """The doctor's calls, done on one host (see `cumulet.doctor.calls`)."""

    prepare_host: Callable[..., PreparedHost]
    find_address: Callable[..., str]
    propose_certificate: Callable[..., str]
    adopt_certificate: Callable[..., None]
    open_overlay: Callable[..., str]
    forget_earlier_names: Callable[..., None]


@dataclass(frozen=True, slots=True)
class Centre:
    """The host with OVN's databases, and who vouches for hosts."""

    doctor: Doctor
    authority: Path
    """The folder of the authority's key and certificate."""
    now: datetime

    def take_in(
        self,
        host: Doctor,
        peer: str,
        report: Report = lambda _: None,
        *,
        packages: tuple[str, ...] = (),
    ) -> PreparedHost:
        """Prepare a host, called `peer`, in its place in the network; repeatable, and renews certificates.

        `packages` are Debian packages needed there besides the host's own.

        CommandFailed says which step failed.
        """
        here = self.doctor.find_address(peer)
        southbound = self.open_to(here)
        there = host.find_address(here)
        prepared = host.prepare_host(report, packages=packages, overlay=Overlay(there, southbound))
        self.doctor.forget_earlier_names(prepared.chassis, there)
        self.certify(host, prepared.chassis)
        return prepared

    def open_to(self, address: str) -> str:
        """Let hosts ask OVN's southbound database at an address, and say how it is written."""
        self.certify(self.doctor, self.doctor.prepare_host().chassis, serves=True)
        return self.doctor.open_overlay(address)

    def certify(self, host: Doctor, chassis: str, *, serves: bool = False) -> None:
        """Give a host a certificate for its name in OVN; only by one that `serves` do others believe its answers."""
        request = host.propose_certificate()
        host.adopt_certificate(*vouch_for_host(self.authority, request, chassis, self.now, serves=serves))
