"""How packets go: OVS's datapath, forwarding, and firewalls of others that would stop VMs' traffic."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from cumulet.doctor import forwarding, taps
from cumulet.doctor.checks.programs import PREPARE
from cumulet.doctor.command import CommandFailed, output_of
from cumulet.doctor.findings import Finding, broken, degraded, ok
from cumulet.doctor.uplink import Reach, table_name

DOCKER_CHAIN: Final = "DOCKER-USER"


def judge_datapath(datapath: str) -> Finding:
    """`system` or `netdev`, as bridges.py chose."""
    if datapath == "system":
        return ok("datapath", "the kernel's openvswitch module")
    cost = "VMs' traffic goes through a process, without checksum offload: slower, and it pauses when OVS restarts"
    cure = "a kernel with CONFIG_OPENVSWITCH (Debian's and Ubuntu's have it)"
    return degraded("datapath", "userspace: this kernel has no openvswitch module", cost=cost, cure=cure)


def judge_forwarding(setting: str, *, for_vms_alone: bool, chains: str) -> Finding:
    """The kernel's net.ipv4.ip_forward, and whether what it was turned on for is kept to."""
    if setting.strip() != "1":
        cure = f"{PREPARE} (sysctl net.ipv4.ip_forward=1)"
        return broken("IP forwarding", "off: VMs do not reach the Internet", cure=cure)
    if not for_vms_alone:
        return ok("IP forwarding", "on, as it was before Cumulet")
    if forwarding.TABLE in tables(chains):
        text = f"on for VMs alone; to forward for containers or a VPN too: rm {forwarding.FOR_VMS_ALONE}"
        return ok("IP forwarding", text)
    cost = "this host routes for whoever sends to it"
    return degraded(
        "IP forwarding", f"on for everybody; missing in nft: {forwarding.TABLE}", cost=cost, cure=PREPARE
    )


def judge_uplink(bridge: str, reach: Reach, chains: str) -> Finding:
    """Whether guests behind an external bridge are kept off the host and what is beside it."""
    name, table = f"VMs by {bridge}", f"table inet {table_name(bridge)}"
    if table in tables(chains):
        opened = map(str, (*reach.services, *reach.networks))
        return ok(name, f"reachable on this host and its networks: {', '.join(('ping', *opened))}")
    cost = "VMs do not reach the Internet, but everything that this host serves"
    return degraded(name, f"missing in nft: {table}", cost=cost, cure=PREPARE)


def list_chains() -> str:
    """All chains of nftables, as JSON; those of iptables-nft are among them."""
    try:
        return output_of("nft", "--json", "list", "chains")
    except CommandFailed:
        return '{"nftables": []}'


def read_chains(chains: str) -> list[dict[str, Any]]:
    """The chains in what `list_chains` answers."""
    return [entry["chain"] for entry in msgspec.json.decode(chains)["nftables"] if "chain" in entry]


def tables(chains: str) -> set[str]:
    """The tables that these chains are in, as nft writes them."""
    return {f"table {chain['family']} {chain['table']}" for chain in read_chains(chains)}


def judge_taps(chains: str) -> Finding:
    """Whether the host is deaf on VMs' taps."""
    there = {chain["family"] for chain in read_chains(chains) if chain["table"] == taps.TABLE}
    if there >= {*taps.FAMILIES}:
        return ok("VMs' taps", "the host ignores what VMs send to it there")
    missing = ", ".join(f"{family} {taps.TABLE}" for family in taps.FAMILIES if family not in there)
    cost = "VMs reach what the host serves, and other VMs past the rules of their security groups"
    return degraded(
        "VMs' taps", f"the host accepts traffic from VMs; missing in nft: {missing}", cost=cost, cure=PREPARE
    )


def judge_firewalls(chains: str, bridges: tuple[str, ...]) -> Finding:
    """Whether somebody's firewall drops what the host forwards for its VMs."""
    found = read_chains(chains)
    closed = [chain for chain in found if chain.get("hook") == "forward" and chain.get("policy") == "drop"]
    if not closed:
        return ok("firewalls", "nothing drops forwarded packets")
    places = ", ".join(f"{chain['family']} {chain['table']} {chain['name']}" for chain in closed)
    insert = DOCKER_CHAIN if any(chain["name"] == DOCKER_CHAIN for chain in found) else "FORWARD"
    cure = "; ".join(
        f"iptables -I {insert} -{direction} {bridge} -j ACCEPT"
        for bridge in bridges or ("br-ex",)
        for direction in "io"
    )
    cost = "unless its rules let the external bridge pass, VMs neither reach the Internet nor are reached from it"
    return degraded("firewalls", f"forwarded packets are dropped by policy in {places}", cost=cost, cure=cure)
