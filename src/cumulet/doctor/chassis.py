"""What OVN knows of this host, and it of OVN: set right from whatever is there, as far as it is Cumulet's."""

from __future__ import annotations

from dataclasses import dataclass

from cumulet.doctor.bridges import ALONE, VSCTL, read_settings
from cumulet.doctor.central import Cluster, bring_to_schema, has_databases, listen, read_cluster
from cumulet.doctor.command import output_of
from cumulet.doctor.daemon_specs import HALVES, SOUTHBOUND, SOUTHBOUND_SOCKET
from cumulet.doctor.overlay import (
    SOUTHBOUND_PORT,
    Certified,
    Overlay,
    Proof,
    identity,
    note_overlay,
    read_certificate,
    read_overlay,
    request_certificate,
    take_certificate,
)


@dataclass(frozen=True, slots=True)
class Place:
    """A host's place in the network between hosts, as it is."""

    chassis: str
    """Its name in OVN."""
    overlay: Overlay | None
    """As it was noted; None on a host that is alone."""
    proofs: dict[Proof, Certified]
    cluster: Cluster | None
    """Its part of databases that several hosts have together."""


def read_place() -> Place:
    """Say what this host's place in the network between hosts is."""
    found = {proof: read_certificate(proof) for proof in Proof}
    return Place(
        read_settings()["system-id"],
        read_overlay(),
        {proof: certified for proof, certified in found.items() if certified},
        read_cluster(),
    )


def ensure_place(overlay: Overlay | None) -> None:
    """Have Open vSwitch know this host's place and its name; an address of its operator's for tunnels stays."""
    settings, wanted = read_settings(), {"hostname": host_name()}
    if overlay:
        wanted["ovn-remote"] = overlay.southbound or f"unix:{SOUTHBOUND_SOCKET}"
        if settings["ovn-encap-ip"] == ALONE:
            wanted["ovn-encap-ip"] = overlay.address
    changed = [f'external_ids:{key}="{value}"' for key, value in wanted.items() if settings.get(key) != value]
    if changed:
        output_of(*VSCTL, "set", "Open_vSwitch", ".", *changed)
    if overlay and has_databases(overlay):
        for half in HALVES if overlay.members else ():
            bring_to_schema(half)
        listen(together=bool(overlay.members))


def host_name() -> str:
    """This host's name as libvirt has it: by it the cloud knows which chassis is which host."""
    return output_of("virsh", "--connect", "qemu:///system", "hostname").strip()


def propose_certificate(proof: Proof) -> str:
    """Ask (PEM) for a certificate for this host's name in OVN."""
    return request_certificate(read_settings()["system-id"], proof)


def adopt_certificate(proof: Proof, certificate: str, believed: str, heard: str = "") -> None:
    """Prove with it who this host is, from now on, and believe and hear whom these authorities vouch for; all are PEM."""
    take_certificate(proof, certificate, believed, heard)
    if proof is Proof.HOST and output_of(*VSCTL, "--bare", "get-ssl").split()[2:3] != [
        str(identity(proof).key)
    ]:
        output_of(*VSCTL, "set-ssl", *identity(proof).tls)


def open_overlay(address: str) -> str:
    """Have OVN's databases here listen to hosts and servers, and say where the southbound one is, at an address of this host's.

    The host must have adopted the certificate of one that has them.
    """
    note_overlay(read_overlay() or Overlay(address))
    ensure_place(read_overlay())
    return f"ssl:{address}:{SOUTHBOUND_PORT}"


def forget_earlier_names(chassis: str, address: str) -> None:
    """Take what a host was called before out of OVN: under two names with one address it could not be entered.

    A controller that was killed leaves its name behind, and an Open vSwitch that was made anew brings another.
    """
    names = SOUTHBOUND.ctl("--bare", "--columns=chassis_name", "find", "Encap", f'ip="{address}"').split()
    for name in {*names} - {chassis}:
        SOUTHBOUND.ctl("--if-exists", "chassis-del", name)
