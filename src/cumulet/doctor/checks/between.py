"""The network between hosts: whether the host will still be known in it, and whether all have OVN's databases that are to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cumulet.doctor.central import GUARD, Cluster
from cumulet.doctor.checks.packets import tables
from cumulet.doctor.checks.programs import PREPARE
from cumulet.doctor.findings import Finding, broken, degraded, ok
from cumulet.doctor.overlay import Certified, Proof

TOLD: Final = timedelta(days=100)
"""So long before its end a certificate is late: a server that reaches the host makes a new one long before."""
NAMES: Final = {Proof.HOST: "certificate", Proof.CENTRAL: "certificate of OVN's databases"}


def judge_certificate(proof: Proof, certified: Certified, now: datetime) -> Finding:
    """Whether a certificate is good for long."""
    name, text = NAMES[proof], f"until {certified.until:%Y-%m-%d}"
    cure = "have a server run that reaches this host: it makes a new one within minutes"
    if certified.until <= now:
        return broken(
            name, f"ended on {certified.until:%Y-%m-%d}: OVN does not know this host any more", cure=cure
        )
    if certified.until < now + TOLD:
        return degraded(name, text, cost="from then on OVN does not know this host any more", cure=cure)
    return ok(name, text)


def judge_cluster(cluster: Cluster, chains: str) -> Finding:
    """Whether the databases that this host has together with others can be written to, and go on when one more dies."""
    name = "OVN's databases"
    missing = f"no connection to {', '.join(cluster.missing)}"
    if not cluster.takes_part:
        cure = "bring those hosts back: more than half of them must be there, or nothing changes any more; packets go on"
        return broken(name, missing if cluster.missing else "no part of what other hosts have", cure=cure)
    if GUARD not in {table.rpartition(" ")[2] for table in tables(chains)}:
        cost = "hosts that have no databases could write to those of others"
        return degraded(name, f"missing in nft: table ip {GUARD}", cost=cost, cure=PREPARE)
    text = f"together with {', '.join(cluster.members)}"
    if cluster.missing:
        cure = "bring it back, or name others: cumulet host central"
        return degraded(
            name, f"{text}; {missing}", cost="if one more is away nothing changes any more", cure=cure
        )
    return ok(name, text)
