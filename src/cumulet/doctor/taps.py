"""The host's own deafness on VMs' taps.

To the kernel a tap is an interface of the host like any other: it would take a guest's router announcements for
those of its own network, answer guests beneath all rules of theirs, and forward what they send to the tap itself.
Open vSwitch takes frames before the host's stack does, so that it loses none by this: its kernel module has a hook of
its own, its userspace datapath a packet socket. The rules go by how the taps' names begin and hold from the moment
that one appears.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from cumulet.doctor.command import output_of
from cumulet.hypervisor.taps import TAP_PREFIX

TABLE: Final = "cumulet_taps"
FAMILIES: Final = ("inet", "arp")
NETWORK_SETTINGS: Final = Path("/proc/sys/net/ipv6/conf")
DEAFNESS: Final = f"""table inet {TABLE}
delete table inet {TABLE}
table arp {TABLE}
delete table arp {TABLE}
table inet {TABLE} {{
    chain hear {{
        type filter hook prerouting priority -450; policy accept;  # before fragments are kept to be put together
        iifname "{TAP_PREFIX}*" drop
    }}
    chain say {{
        type filter hook output priority raw; policy accept;
        oifname "{TAP_PREFIX}*" drop
    }}
}}
table arp {TABLE} {{
    chain hear {{
        type filter hook input priority filter; policy accept;
        iifname "{TAP_PREFIX}*" drop
    }}
    chain say {{
        type filter hook output priority filter; policy accept;
        oifname "{TAP_PREFIX}*" drop
    }}
}}
"""


def ensure_deaf_on_taps(settings: Path = NETWORK_SETTINGS) -> None:
    """Have the host hear nothing of what VMs say to their taps, and say nothing there itself."""
    output_of("nft", "--file", "-", stdin=DEAFNESS)
    for setting in settings.glob(f"{TAP_PREFIX}*/disable_ipv6"):
        with contextlib.suppress(FileNotFoundError):  # its VM has just ended
            setting.write_text("1\n")


def listen_on_taps() -> None:
    """Take the rules away, on a host that has no VMs any more."""
    for family in FAMILIES:
        output_of("nft", "--file", "-", stdin=f"table {family} {TABLE}\ndelete table {family} {TABLE}\n")
