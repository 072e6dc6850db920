"""How packets go: OVS's datapath, forwarding, and firewalls of others that would stop VMs' traffic."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from cumulet.doctor.checks.programs import PREPARE
from cumulet.doctor.command import CommandFailed, output_of
from cumulet.doctor.findings import Finding, broken, degraded, ok
from cumulet.doctor.taps import FAMILIES, TABLE

DOCKER_CHAIN: Final = "DOCKER-USER"


def judge_datapath(datapath: str) -> Finding:
    """`system` or `netdev`, as bridges.py chose."""
    if datapath == "system":
        return ok("datapath", "the kernel's openvswitch module")
    cost = "VMs' traffic goes through a process, without checksum offload: slower, and it pauses when OVS restarts"
    cure = "a kernel with CONFIG_OPENVSWITCH (Debian's and Ubuntu's have it)"
    return degraded("datapath", "userspace: this kernel has no openvswitch module", cost=cost, cure=cure)


def judge_forwarding(setting: str) -> Finding:
    """The kernel's net.ipv4.ip_forward."""
    if setting.strip() == "1":
        return ok("IP forwarding", "on")
    return broken(
        "IP forwarding", "off: VMs do not reach the world", cure=f"{PREPARE} (sysctl net.ipv4.ip_forward=1)"
    )


def list_chains() -> str:
    """All chains of nftables, as JSON; those of iptables-nft are among them."""
    try:
        return output_of("nft", "--json", "list", "chains")
    except CommandFailed:
        return '{"nftables": []}'


def read_chains(chains: str) -> list[dict[str, Any]]:
    """The chains in what `list_chains` answers."""
    return [entry["chain"] for entry in msgspec.json.decode(chains)["nftables"] if "chain" in entry]


def judge_taps(chains: str) -> Finding:
    """Whether the host is deaf on VMs' taps."""
    there = {chain["family"] for chain in read_chains(chains) if chain["table"] == TABLE}
    if there >= {*FAMILIES}:
        return ok("VMs' taps", "the host hears nothing that VMs say to it there")
    missing = ", ".join(f"{family} {TABLE}" for family in FAMILIES if family not in there)
    cost = "VMs reach what the host serves, and other VMs past the rules of their security groups"
    return degraded(
        "VMs' taps", f"the host listens to VMs; missing in nft: {missing}", cost=cost, cure=PREPARE
    )


def judge_firewalls(chains: str, bridges: tuple[str, ...]) -> Finding:
    """Whether somebody's firewall drops what the host forwards for its VMs."""
    found = read_chains(chains)
    closed = [chain for chain in found if chain.get("hook") == "forward" and chain.get("policy") == "drop"]
    if not closed:
        return ok("firewalls", "none stops what is forwarded")
    places = ", ".join(f"{chain['family']} {chain['table']} {chain['name']}" for chain in closed)
    insert = DOCKER_CHAIN if any(chain["name"] == DOCKER_CHAIN for chain in found) else "FORWARD"
    cure = "; ".join(
        f"iptables -I {insert} -{direction} {bridge} -j ACCEPT"
        for bridge in bridges or ("br-ex",)
        for direction in "io"
    )
    cost = "unless its rules let the external bridge pass, VMs reach neither the world nor the other way"
    return degraded("firewalls", f"forwarded packets are dropped by policy in {places}", cost=cost, cure=cure)
