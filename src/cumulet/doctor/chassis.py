"""What OVN knows of this host, and it of OVN: set right from whatever is there, as far as it is Cumulet's."""

from __future__ import annotations

from typing import Final

from cumulet.doctor.bridges import ALONE, VSCTL, read_settings
from cumulet.doctor.command import output_of
from cumulet.doctor.daemon_specs import SOUTHBOUND_SOCKET
from cumulet.doctor.overlay import (
    SOUTHBOUND_PORT,
    Overlay,
    note_overlay,
    read_overlay,
    request_certificate,
    take_certificate,
    tls_files,
)

SBCTL: Final = ("ovn-sbctl", "--timeout=10", f"--db=unix:{SOUTHBOUND_SOCKET}")
HOSTS_ONLY: Final = "ovn-controller"
"""The role of who connects by TLS: to change what is its own (OVN's RBAC)."""


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


def host_name() -> str:
    """This host's name as libvirt has it: by it the cloud knows which chassis is which host."""
    return output_of("virsh", "--connect", "qemu:///system", "hostname").strip()


def propose_certificate() -> str:
    """Ask (PEM) for a certificate for this host's name in OVN."""
    return request_certificate(read_settings()["system-id"])


def adopt_certificate(certificate: str, authority: str) -> None:
    """Prove with it who this host is, from now on; both are PEM."""
    take_certificate(certificate, authority)
    if output_of(*VSCTL, "--bare", "get-ssl").split()[2:3] != [tls_files()[0]]:
        output_of(*VSCTL, "set-ssl", *tls_files())


def open_overlay(address: str) -> str:
    """Let hosts ask the southbound database here, at an address of this host's, by TLS alone, and say where it is then.

    The host must have adopted a certificate.
    """
    note_overlay(read_overlay() or Overlay(address))
    ensure_place(read_overlay())
    if tls_files()[0] not in output_of(*SBCTL, "get-ssl"):
        output_of(*SBCTL, "set-ssl", *tls_files())
    target = f'target="pssl:{SOUTHBOUND_PORT}:{address}"'
    if not output_of(*SBCTL, "--bare", "--columns=_uuid", "find", "Connection", target).strip():
        output_of(
            *SBCTL, "--id=@one", "create", "Connection", target, f"role={HOSTS_ONLY}",
            "--", "add", "SB_Global", ".", "connections", "@one",
        )  # fmt: skip
    return f"ssl:{address}:{SOUTHBOUND_PORT}"


def forget_earlier_names(chassis: str, address: str) -> None:
    """Take what a host was called before out of OVN: under two names with one address it could not be entered.

    A controller that was killed leaves its name behind, and an Open vSwitch that was made anew brings another.
    """
    names = output_of(*SBCTL, "--bare", "--columns=chassis_name", "find", "Encap", f'ip="{address}"').split()
    for name in {*names} - {chassis}:
        output_of(*SBCTL, "--if-exists", "chassis-del", name)
