"""The host's Open vSwitch bridges: the one where VMs plug in, and those that lead out.

Every function makes the host right from whatever it is, and is cheap when it is right already; the server repeats
them, so that a bridge deleted by hand comes back. What is ours carries a mark in OVS's database or our name in nft's;
nothing else of the host is touched.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any, Final

import msgspec

from cumulet.doctor.command import output_of, succeeds
from cumulet.doctor.daemon_specs import CACHE_EXACTLY, SOUTHBOUND_SOCKET, USERSPACE
from cumulet.doctor.forwarding import allow_forwarding, end_forwarding
from cumulet.doctor.uplink import NOTHING, Reach, decode_reach, encode_reach, load_rules, remove_rules
from cumulet.errors import Invalid, Refused

INTEGRATION_BRIDGE: Final = "br-int"
CHASSIS_FILE: Final = Path("/etc/openvswitch/system-id.conf")
GATEWAY_MARK: Final = "cumulet-gateway"
"""On a bridge of ours: the address that the host has on it."""
REACH_MARK: Final = "cumulet-reach"
"""Likewise: what guests reach of the host and beside it."""
VSCTL: Final = ("ovs-vsctl", "--timeout=10")
ALONE: Final = "127.0.0.1"
"""Where tunnels end on a host that is alone."""
BRIDGE_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,14}")


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge of the host."""

    datapath: str
    """`system` or `netdev`."""
    gateway: IPv4Interface | None
    """The address that the host is to have on it; None on a bridge that is not an external one of ours."""
    reach: Reach = NOTHING
    """What guests behind it reach of the host and beside it."""


@dataclass(frozen=True, slots=True)
class Switch:
    """As much of Open vSwitch's settings as concerns external bridges."""

    bridges: dict[str, Bridge]
    mappings: str
    """`ovn-bridge-mappings`."""

    @property
    def external(self) -> dict[str, Bridge]:
        """Our own external bridges."""
        return {name: bridge for name, bridge in self.bridges.items() if bridge.gateway is not None}


def choose_datapath() -> str:
    """`system` where the kernel has the openvswitch module, else `netdev`, OVS's userspace datapath."""
    if Path("/sys/module/openvswitch").exists() or succeeds("modprobe", "openvswitch"):
        return "system"
    return USERSPACE


def propose_chassis() -> str:
    """A name for this host in OVN, kept in the file where OVS's own scripts keep it; made up on first use."""
    with contextlib.suppress(FileNotFoundError):
        return CHASSIS_FILE.read_text().strip()
    chassis = str(uuid.uuid4())
    CHASSIS_FILE.parent.mkdir(parents=True, exist_ok=True)
    CHASSIS_FILE.write_text(chassis + "\n")
    return chassis


def integration_command(datapath: str, chassis: str) -> tuple[str, ...]:
    """The ovs-vsctl command that prepares OVS for OVN; what the operator set already is kept (`add` keeps)."""
    settings = {
        "system-id": chassis,
        "ovn-remote": f'"unix:{SOUTHBOUND_SOCKET}"',
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": ALONE,
        "ovn-bridge-datapath-type": datapath,
    }
    return (
        *VSCTL, "--no-wait", "init",
        "--", "add", "Open_vSwitch", ".", "external_ids", *(f"{key}={value}" for key, value in settings.items()),
        "--", "--may-exist", "add-br", INTEGRATION_BRIDGE,
        "--", "set", "Bridge", INTEGRATION_BRIDGE, f"datapath_type={datapath}", "fail_mode=secure",
        "other_config:disable-in-band=true",
    )  # fmt: skip


def ensure_integration_bridge(datapath: str) -> None:
    """Mend br-int, OVS's settings for OVN, and how it remembers packets."""
    output_of(*integration_command(datapath, propose_chassis()))
    if datapath == USERSPACE:
        output_of(*CACHE_EXACTLY)


def read_settings() -> dict[str, str]:
    """What Open vSwitch holds for OVN."""
    (settings,) = rows("Open_vSwitch", "external_ids")
    return dict(settings["external_ids"])


def ensure_external_bridge(
    name: str, gateway: IPv4Interface, *, datapath: str, reach: Reach = NOTHING
) -> None:
    """Give the host a bridge to an external range of its own, and that range a way to the world.

    The host holds `gateway` on the bridge's own port, forwards, and masquerades what leaves the range; of itself and
    its surroundings it lets guests reach what `reach` says. OVN finds the bridge under its own name in
    `ovn-bridge-mappings`. Refused when a bridge of that name is somebody else's.
    """
    if not BRIDGE_NAME.fullmatch(name):
        raise Invalid.field("bridge", name, "at most 15 of a-z, 0-9, '.', '_', '-', beginning with a letter")
    switch = read_switch()
    refuse_foreign(switch, name)
    mappings = with_mapping(switch.mappings, name)
    wanted = Bridge(datapath, gateway, reach)
    if (switch.bridges.get(name), switch.mappings) != (wanted, mappings):
        put_bridge(name, wanted, mappings)
    give_address(name, gateway, datapath)
    ours = {*switch.external, name}
    load_rules(name, gateway, reach, ours=ours)
    allow_forwarding(ours)


def ensure_mapping(name: str) -> None:
    """Have OVN find a bridge of the operator's under its own name; Refused when it is not there."""
    switch = read_switch()
    if name not in switch.bridges:
        raise Refused(
            f"there is no Open vSwitch bridge {name!r} here: make one that leads to the external range, or name another "
            "one in the catalogue (external_bridge)",
            reason="HOST_BRIDGE",
        )
    mappings = with_mapping(switch.mappings, name)
    if mappings != switch.mappings:
        output_of(*VSCTL, "set", "Open_vSwitch", ".", mappings_setting(mappings))


def remove_external_bridge(name: str) -> None:
    """Take away a bridge of ours with its mapping and rules, as far as they are there, and forwarding with the last."""
    switch = read_switch()
    refuse_foreign(switch, name)
    output_of(
        *VSCTL, "--if-exists", "del-br", name,
        "--", "set", "Open_vSwitch", ".", mappings_setting(without_mapping(switch.mappings, name)),
    )  # fmt: skip
    remove_rules(name)
    if others := switch.external.keys() - {name}:
        allow_forwarding(others)
    else:
        end_forwarding()


def repair_external_bridges() -> None:
    """Bring back the addresses and rules of our external bridges, which a reboot takes away."""
    for name, bridge in external_bridges().items():
        if bridge.gateway is not None:
            ensure_external_bridge(name, bridge.gateway, datapath=bridge.datapath, reach=bridge.reach)


def external_bridges() -> dict[str, Bridge]:
    """Our own external bridges."""
    return read_switch().external


def read_switch() -> Switch:
    """What OVS holds now."""
    (settings,) = rows("Open_vSwitch", "external_ids")
    bridges = {}
    for row in rows("Bridge", "name", "datapath_type", "external_ids"):
        bridges[row["name"]] = read_bridge(row["datapath_type"], row["external_ids"])
    return Switch(bridges, settings["external_ids"].get("ovn-bridge-mappings", ""))


def read_bridge(datapath: str, marks: dict[str, str]) -> Bridge:
    """What a bridge is by the marks on it."""
    gateway = IPv4Interface(marks[GATEWAY_MARK]) if GATEWAY_MARK in marks else None
    return Bridge(datapath, gateway, decode_reach(marks.get(REACH_MARK, "{}")))


def refuse_foreign(switch: Switch, name: str) -> None:
    """Refused when a bridge of that name is there without our mark."""
    if name in switch.bridges and switch.bridges[name].gateway is None:
        raise Refused(
            f"bridge {name!r} exists and is not Cumulet's; name another one in the catalogue",
            reason="HOST_BRIDGE",
        )


def put_bridge(name: str, bridge: Bridge, mappings: str) -> None:
    """Make or correct a bridge of ours, and tell OVN of it."""
    output_of(
        *VSCTL, "--may-exist", "add-br", name,
        "--", "set", "Bridge", name, f"datapath_type={bridge.datapath}",
        f"external_ids:{GATEWAY_MARK}={bridge.gateway}",
        f"external_ids:{REACH_MARK}={quoted(encode_reach(bridge.reach))}", "other_config:disable-in-band=true",
        "--", "set", "Open_vSwitch", ".", mappings_setting(mappings),
    )  # fmt: skip


def quoted(text: str) -> str:
    """A text as OVSDB writes one that is more than a word."""
    return msgspec.json.encode(text).decode()


def give_address(name: str, gateway: IPv4Interface, datapath: str) -> None:
    """Let the host answer at `gateway`, and only there, on the bridge's own port."""
    (link,) = msgspec.json.decode(output_of("ip", "-json", "address", "show", "dev", name))
    there = {
        f"{address['local']}/{address['prefixlen']}"
        for address in link["addr_info"]
        if address["family"] == "inet"
    }
    if there == {str(gateway)} and "UP" in link["flags"]:
        return
    for other in there - {str(gateway)}:
        output_of("ip", "address", "delete", other, "dev", name)
    output_of("ip", "address", "replace", str(gateway), "dev", name)
    if (
        datapath == USERSPACE
    ):  # the userspace datapath hands the kernel's unfinished checksums on to the guest
        output_of("ethtool", "--offload", name, "tx", "off")
    output_of("ip", "link", "set", name, "up")


def mappings_setting(mappings: str) -> str:
    """How ovs-vsctl writes `ovn-bridge-mappings` (NETWORK:BRIDGE,…)."""
    return f'external_ids:ovn-bridge-mappings="{mappings}"'


def with_mapping(mappings: str, bridge: str) -> str:
    """Add a bridge under its own name unless it is there; all others stay."""
    if f"{bridge}:{bridge}" in mappings.split(","):
        return mappings
    return f"{mappings},{bridge}:{bridge}".lstrip(",")


def without_mapping(mappings: str, bridge: str) -> str:
    """Drop a bridge's own mapping; all others stay."""
    return ",".join(entry for entry in mappings.split(",") if entry and entry != f"{bridge}:{bridge}")


def rows(table: str, *columns: str) -> Iterator[dict[str, Any]]:
    """Read columns of one of OVS's tables; maps become dicts."""
    text = output_of(*VSCTL, "--no-wait", "--format=json", f"--columns={','.join(columns)}", "list", table)
    answer = msgspec.json.decode(text)
    for values in answer["data"]:
        yield {heading: plain(value) for heading, value in zip(answer["headings"], values, strict=True)}


def plain(value: object) -> object:
    """A column's value without OVSDB's notation for maps."""
    match value:
        case ["map", list() as pairs]:
            return dict(pairs)
        case _:
            return value
