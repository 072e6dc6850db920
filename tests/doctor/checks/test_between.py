from datetime import UTC, datetime, timedelta

from cumulet.doctor.central import guard
from cumulet.doctor.central import judge_cluster as read
from cumulet.doctor.checks.between import judge_certificate, judge_cluster
from cumulet.doctor.findings import Level
from cumulet.doctor.overlay import Certified, Proof

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GUARDED = '{"nftables": [{"chain": {"family": "ip", "table": "cumulet_central", "name": "input"}}]}'
STATUS = """c696
Name: OVN_Northbound
Cluster ID: 68c5 (68c5ffc6-fb84-4edd-860f-eddab0df1956)
Server ID: c696 (c696143d-a7e6-4ca5-af26-3629d38ba6cd)
Address: ssl:10.0.0.1:6643
Status: {status}
Role: {role}
Term: 1
Leader: {leader}
Vote: self

Connections: {connections}
Disconnections: 0
Servers:
    c696 (c696 at ssl:10.0.0.1:6643) (self) next_index=2 match_index=6
    21fb (21fb at ssl:10.0.0.2:6643) next_index=7 match_index=6 last msg 317 ms ago
    121f (121f at ssl:10.0.0.3:6643) next_index=7 match_index=6 last msg 316 ms ago
"""


def cluster(status="cluster member", role="leader", leader="self", connections="<-21fb ->21fb <-121f ->121f"):
    words = STATUS.format(status=status, role=role, leader=leader, connections=connections)
    return read({"nb": words, "sb": words})


def test_a_host_says_whom_it_has_the_databases_with_and_who_is_missing():
    whole = cluster()
    assert whole.members == ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert (whole.missing, whole.leads, whole.takes_part) == ((), ("nb", "sb"), True)
    assert cluster(role="follower", leader="21fb", connections="->0000 <-21fb <-121f ->121f").missing == ()
    assert cluster(connections="<-21fb ->21fb (->121f)").missing == ("10.0.0.3",)
    alone = cluster("disconnected from the cluster (election timeout)", "candidate", "unknown", "(->21fb)")
    assert (alone.takes_part, alone.missing) == (False, ("10.0.0.2", "10.0.0.3"))
    assert not read({"nb": "", "sb": ""}).takes_part


def test_a_member_that_is_missing_costs_what_another_one_would():
    assert judge_cluster(cluster(), GUARDED).level is Level.OK
    found = judge_cluster(cluster(connections="<-21fb ->21fb (->121f)"), GUARDED)
    assert (found.level, "no connection to 10.0.0.3" in found.text) == (Level.DEGRADED, True)
    away = judge_cluster(cluster(leader="unknown", connections="(->21fb) (->121f)"), GUARDED)
    assert (away.level, away.text) == (Level.BROKEN, "no connection to 10.0.0.2, 10.0.0.3")
    open_ = judge_cluster(cluster(), '{"nftables": []}')
    assert (open_.level, open_.text) == (Level.DEGRADED, "missing in nft: table ip cumulet_central")


def test_a_certificate_that_nobody_makes_anew_is_told_long_before_it_ends():
    def judged(days):
        return judge_certificate(Proof.HOST, Certified(NOON + timedelta(days=days), ""), NOON).level

    assert [judged(days) for days in (101, 99, 0)] == [Level.OK, Level.DEGRADED, Level.BROKEN]


def test_ports_for_members_are_closed_to_others_and_on_other_hosts_there_is_nothing_to_close():
    assert "tcp dport { 6643, 6644, 16642 } ip saddr != { 10.0.0.1, 10.0.0.2 } reject" in guard(
        ("10.0.0.1", "10.0.0.2")
    )
    assert guard(()) == "table ip cumulet_central\ndelete table ip cumulet_central\n"
