"""OVN's databases on this host: alone, or together with those of other hosts (Raft), so that they outlive any one of these.

        alone                                       together
    ┌──────────────┐  found_cluster   ┌────┐ ┌────┐ ┌────┐     6641 servers and northd ─▶ northbound
    │ one file each│ ───────────────▶ │ h1 │ │ h2 │ │ h3 │     6642 hosts ─▶ southbound, for what is their own
    └──────────────┘                  └────┘ └────┘ └────┘    16642 northd ─▶ southbound
                                     each write is on two     6643, 6644 the databases to each other

Who says what by which certificate: `overlay`. The southbound database hears hosts, so a host's certificate opens all of
its ports; those that are not for hosts are closed to all addresses but the members'.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from cumulet.doctor.command import CommandFailed, output_of, succeeds
from cumulet.doctor.daemon_specs import HALVES, NORTHBOUND, SOUTHBOUND, CentralDatabase
from cumulet.doctor.overlay import (
    NORTHBOUND_PORT,
    NORTHD_PORT,
    SOUTHBOUND_PORT,
    Overlay,
    Proof,
    identity,
    is_central,
)

HOSTS_ONLY: Final = "ovn-controller"
"""The role of hosts: to change what is their own (OVN's RBAC)."""
GUARD: Final = "cumulet_central"
"""Our nft table."""
ELECTION_MS: Final = 4000
"""How long the members of a cluster wait for their leader before they choose another; a busy machine is often late by seconds."""
JOIN_SECONDS: Final = 10.0
MEMBER: Final = re.compile(r"^ {4}(\w{4}) \(\w{4} at ssl:([0-9.]+):\d+\)( \(self\))?", re.MULTILINE)
CONNECTED: Final = re.compile(r"(?:<-|->)(\w{4})(?!\))\b")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A host's part of databases that several hosts have together."""

    members: tuple[str, ...]
    """The addresses of those who have them, as this one knows."""
    missing: tuple[str, ...]
    """Those of them to whom it has no connection."""
    leads: tuple[str, ...]
    """The databases (`nb`, `sb`) whose leader it is now."""
    takes_part: bool
    """It follows or leads in both: more than half of the members are there."""
    is_outdated: bool = False
    """One of the databases is of an earlier schema than the packages of this host."""


def read_cluster() -> Cluster | None:
    """Say what this host's part is; None where the databases are its own or somewhere else."""
    if not all(is_clustered(half) for half in HALVES):
        return None
    cluster = judge_cluster({half.half: ask_cluster(half) for half in HALVES})
    return replace(cluster, is_outdated=cluster.takes_part and any(is_outdated(half) for half in HALVES))


def judge_cluster(told: Mapping[str, str]) -> Cluster:
    """Read what both databases, by `nb` and `sb`, say of their clusters."""
    members, missing, leads, takes_part = set(), set(), [], True
    for half, words in told.items():
        lines = {name: value for name, _, value in (line.partition(": ") for line in words.splitlines())}
        connected = {*CONNECTED.findall(lines.get("Connections", ""))}
        for id, address, is_own in MEMBER.findall(words):
            members.add(address)
            if not is_own and id not in connected:
                missing.add(address)
        if lines.get("Role") == "leader":
            leads.append(half)
        takes_part &= lines.get("Status") == "cluster member" and lines.get("Leader", "unknown") != "unknown"
    return Cluster(tuple(sorted(members)), tuple(sorted(missing)), tuple(leads), takes_part)


def has_databases(overlay: Overlay | None) -> bool:
    """Whether OVN's databases are here and can be asked: those of a member that others have parted with cannot.

    A member that has just been started is waited for until it follows a leader, or is one.
    """
    if not overlay or not overlay.members:
        return is_central(overlay)
    deadline = time.monotonic() + JOIN_SECONDS
    while not ((cluster := read_cluster()) and cluster.takes_part):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def ask_cluster(half: CentralDatabase) -> str:
    """What a database says of its cluster; nothing when it is not served."""
    try:
        return output_of("ovn-appctl", "--timeout=5", "--target", half.control, "cluster/status", half.name)
    except CommandFailed:
        return ""


def is_clustered(half: CentralDatabase) -> bool:
    """Whether the database here is one of several."""
    return half.file.exists() and succeeds("ovsdb-tool", "db-is-clustered", str(half.file))


def found(address: str) -> None:
    """Make databases, while nobody serves them, the first members of clusters of their own, at an address of this host's."""
    for half in HALVES:
        if not is_clustered(half):
            new = half.file.with_suffix(".new")
            new.unlink(missing_ok=True)
            output_of(
                "ovsdb-tool", f"--election-timer={ELECTION_MS}", "create-cluster", str(new), str(half.file), half.member(address)
            )  # fmt: skip
            new.replace(half.file)


def is_misplaced(overlay: Overlay | None) -> bool:
    """Whether the databases here are not those that this place has."""
    if not is_central(overlay):
        return any(is_clustered(half) for half in HALVES)
    return bool(overlay and overlay.members) and not all(is_clustered(half) for half in HALVES)


def settle(overlay: Overlay) -> None:
    """Take the databases to their place while nobody serves them: to those of the other members, or away.

    One that was this host's own is kept beside, and its content counts nowhere.
    """
    for half in HALVES:
        clustered = is_clustered(half)
        if not is_central(overlay):
            if clustered:
                half.file.unlink()
        elif overlay.members and not clustered:
            if half.file.exists():
                half.file.replace(half.file.with_suffix(".before"))
            others = (half.member(other) for other in overlay.members if other != overlay.address)
            half.file.parent.mkdir(parents=True, exist_ok=True)
            output_of(
                "ovsdb-tool", "join-cluster", str(half.file), half.name, half.member(overlay.address), *others
            )


def bring_to_schema(half: CentralDatabase) -> None:
    """Have a database of several, while it is served, be of the schema that is installed here, unless that is the older one.

    Members get new packages one after the other: those with earlier ones work with the newer schema, and must not take
    it back. Whoever has the database open is told to read it anew.
    """
    if is_outdated(half):
        output_of(
            "ovsdb-client", "--timeout=60", "--no-leader-only", "convert", f"unix:{half.socket}", str(half.schema)
        )  # fmt: skip


def is_outdated(half: CentralDatabase) -> bool:
    """Whether a database that can be asked now is of an earlier schema than the one that is installed here."""
    asking = ("ovsdb-client", "--timeout=10", "--no-leader-only", "get-schema-version")
    try:
        served = output_of(*asking, f"unix:{half.socket}", half.name).strip()
    except CommandFailed:
        return False
    installed = output_of("ovsdb-tool", "schema-version", str(half.schema)).strip()
    return succeeds("ovsdb-tool", "compare-versions", served, "<", installed)


def part_with(address: str) -> None:
    """Have the clusters that this host takes part in go on without a member, dead or alive; for it there is no way back."""
    for half in HALVES:
        if address in {found for _, found, _ in MEMBER.findall(ask_cluster(half))}:
            output_of(
                "ovn-appctl", "--timeout=10", "--target", half.control, "cluster/kick", half.name, half.member(address)
            )  # fmt: skip


def listen(*, together: bool) -> None:
    """Have both databases listen on the network by TLS alone, to servers, to hosts, and `together` to each other's northd."""
    files = identity(Proof.CENTRAL)
    if not files.certificate.exists():
        return
    key, certificate, believed = files.tls
    for half, authorities in ((NORTHBOUND, believed), (SOUTHBOUND, str(files.heard))):
        if half.ctl("get-ssl").split()[2:] != [key, certificate, authorities]:
            half.ctl("set-ssl", key, certificate, authorities)
    listen_at(NORTHBOUND, NORTHBOUND_PORT)
    listen_at(SOUTHBOUND, SOUTHBOUND_PORT, role=HOSTS_ONLY)
    if together:
        listen_at(SOUTHBOUND, NORTHD_PORT)


def listen_at(half: CentralDatabase, port: int, *, role: str = "") -> None:
    """Have a database listen at a port of all addresses, and there alone; who comes has the role."""
    target = f"pssl:{port}:0.0.0.0"
    listed = half.ctl(
        "--bare", "--no-headings", "--columns=_uuid,target", "--format=csv", "list", "Connection"
    )
    found = dict(line.split(",") for line in listed.splitlines() if line)
    for row, other in found.items():
        if other.startswith(f"pssl:{port}:") and other != target:
            half.ctl("remove", half.root, ".", "connections", row)
    if target not in found.values():
        half.ctl(
            "--id=@one", "create", "Connection", f'target="{target}"', *((f"role={role}",) if role else ()),
            "--", "add", half.root, ".", "connections", "@one",
        )  # fmt: skip


def ensure_guard(members: Iterable[str]) -> None:
    """Close what is for members alone to all others; nothing is closed on a host that is none."""
    output_of("nft", "--file", "-", stdin=guard(tuple(members)))


def guard(members: tuple[str, ...]) -> str:
    """The nft script that puts the table in its place, or takes it away."""
    table = f"table ip {GUARD}"
    gone = f"{table}\ndelete {table}\n"
    if not members:
        return gone
    ports = ", ".join(str(port) for port in (*(half.port for half in HALVES), NORTHD_PORT))
    return f"""{gone}{table} {{
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname "lo" accept
        tcp dport {{ {ports} }} ip saddr != {{ {", ".join(members)} }} reject with tcp reset
    }}
}}
"""
