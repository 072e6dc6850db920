"""The kernel's forwarding, which is for all of the host or for nobody: turned on for guests, it must not serve others.

A host that forwarded before keeps doing so for everybody. On one that did not, a rule drops what neither comes from
guests nor goes to them: otherwise Cumulet would have made a router of it, between a company's network and a VPN, say.
That it was so is remembered for as long as the kernel's own setting lasts: until the host boots.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from cumulet.doctor.command import output_of

FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")
FOR_VMS_ALONE: Final = Path("/run/cumulet/forwarding-for-vms-alone")
"""There when it was Cumulet who turned forwarding on. Whoever removes it lets the host forward for others too."""
TABLE: Final = "table inet cumulet_forwarding"
NO_GUARD: Final = f"{TABLE}\ndelete {TABLE}\n"


def allow_forwarding(bridges: Collection[str]) -> None:
    """Let the host pass packets on between guests behind these external bridges and the world."""
    on = FORWARDING.read_text().strip() == "1"
    if not on:
        FOR_VMS_ALONE.parent.mkdir(parents=True, exist_ok=True)
        FOR_VMS_ALONE.touch()
    output_of("nft", "--file", "-", stdin=guard(bridges) if FOR_VMS_ALONE.exists() else NO_GUARD)
    if not on:
        FORWARDING.write_text("1\n")


def end_forwarding() -> None:
    """Leave forwarding as it was found, on a host that has no external bridge any more."""
    if FOR_VMS_ALONE.exists():
        FORWARDING.write_text("0\n")
        FOR_VMS_ALONE.unlink()
    output_of("nft", "--file", "-", stdin=NO_GUARD)


def guard(bridges: Collection[str]) -> str:
    """The nft script by which nothing is passed on but what comes from these bridges or goes there."""
    accepted = "".join(f'        {side}ifname "{name}" accept\n' for name in sorted(bridges) for side in "io")
    return f"""{NO_GUARD}{TABLE} {{
    chain forward {{
        type filter hook forward priority filter; policy accept;
{accepted}        meta nfproto ipv4 drop
    }}
}}
"""
