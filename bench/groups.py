"""One rule changed in a group that many NICs have, and groups of many rules: our own time, and beside it OVN's.

A real server on real OVN, asked by HTTP. The clock starts with the request and stops when OVN's database tells that it
has the rule: everything that is ours is in between (the request, its transaction, the reconciler, ours to OVN's database). OVN's
own time follows, until each host has put the rule in force, as `ovn-nbctl --wait=hv sync` tells, and until packets follow
it, as two guests of a made-up network find out (see `rules_followed`). The NICs are stand-ins: ports in OVN's group
of ports that our database knows nothing of, for nothing of ours looks at NICs when a rule changes; a few are plugged
in, so that the host has something to do.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final
from uuid import uuid4

from bench.figure import Figure, at_most, percentile, say
from bench.rules_followed import Pair, pair_on
from bench.rules_told import ToldRules, told_rules
from bench.server import Server, wait_until
from bench.stage import Stage

CROWDS: Final = (1, 50, 200)
PROMISED_NICS: Final = 50
PROMISED_MS: Final = 50
PLUGGED: Final = 10
LAPS: Final = 20
FEW_RULES: Final = 10
MANY_RULES: Final = (100, 1000)
PROMISED_SECONDS: Final = 1
"""From a request until guests' packets follow it."""
PROMISED_GROWTH: Final = 15
"""Ten times as many rules may take as much longer, and some noise; what is quadratic takes a hundred times."""
PROMISED_CHANGE_GROWTH: Final = 10
"""A hundred times as many rules come with the request and are looked through; only the changed one is written."""
GROUP: Final = "measured"
SWITCH: Final = "measured-nics"


@dataclass(frozen=True, slots=True)
class Times:
    """The milliseconds of one change."""

    ours: float
    ovn: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return (self.ours + self.ovn) / 1000


def measure(stage: Stage) -> list[Figure]:
    """Change rules before few and many NICs, and in small and large groups."""
    server = stage.real_server
    with told_rules() as told, a_group(server, told), stand_ins(max(CROWDS)) as ports:
        crowds = {nics: changes(server, told, ports[:nics]) for nics in CROWDS}
        with pair_on(SWITCH, nbctl) as pair:
            followed = seconds_until_followed(server, pair, ports[: PROMISED_NICS - 1])
        set_members([])
        written = {count: writes(server, told, count) for count in MANY_RULES}
        in_many = [change(server, told, MANY_RULES[-1], lap) for lap in range(1, LAPS // 2)]
    return [
        *(crowd_figure(nics, times) for nics, times in crowds.items()),
        in_force_figure(
            "until every host says that it has it", [each.seconds for each in crowds[PROMISED_NICS]]
        ),
        in_force_figure("until guests' packets follow it", followed),
        growth_by_nics(crowds),
        growth_by_rules(written),
        growth_of_a_change(crowds[min(CROWDS)], in_many),
    ]


def crowd_figure(nics: int, times: list[Times]) -> Figure:
    """Say what one rule costs before so many NICs."""
    name = f"group: one rule changed, {nics} NICs: p50"
    if nics != PROMISED_NICS:
        return Figure(name, worded(times))
    ours = [each.ours for each in times]
    detail = f"p99 {percentile(ours, 99):.0f} ms; then OVN's own {median(each.ovn for each in times):.0f} ms"
    return at_most(name, median(ours), PROMISED_MS, unit="ms", detail=detail)


def in_force_figure(until: str, seconds: list[float]) -> Figure:
    """Say how long the slowest change took."""
    name = f"group: one rule changed, {PROMISED_NICS} NICs, {PLUGGED} of them plugged in, {until}"
    detail = f"slowest of {len(seconds)}; p50 {median(seconds):.2f} s"
    return at_most(name, max(seconds), PROMISED_SECONDS, unit="s", detail=detail)


def growth_by_nics(crowds: dict[int, list[Times]]) -> Figure:
    """Set many NICs beside one."""
    least, most = (median(each.ours for each in crowds[nics]) for nics in (min(CROWDS), max(CROWDS)))
    return Figure(
        f"group: one rule changed, {max(CROWDS)} NICs beside {min(CROWDS)}", f"{most / least:.2f} ×"
    )


def growth_by_rules(written: dict[int, list[Times]]) -> Figure:
    """Set a large group beside a small one."""
    few, many = (median(each.ours for each in written[count]) for count in MANY_RULES)
    name = f"group of {MANY_RULES[1]} rules written at once, beside {MANY_RULES[0]}"
    detail = f"{many:.0f} ms, {few:.0f} ms; then OVN's own {median(each.ovn for each in written[MANY_RULES[1]]):.0f} ms"
    return at_most(name, many / few, PROMISED_GROWTH, unit="×", detail=detail)


def growth_of_a_change(few: list[Times], many: list[Times]) -> Figure:
    """Set one rule changed among many beside one among few."""
    name = f"group of {MANY_RULES[-1]} rules: one rule changed, beside {FEW_RULES}"
    growth = median(each.ours for each in many) / median(each.ours for each in few)
    return at_most(name, growth, PROMISED_CHANGE_GROWTH, unit="×", detail=worded(many))


def worded(times: list[Times]) -> str:
    """Tell ours and OVN's."""
    ours, ovn = median(each.ours for each in times), median(each.ovn for each in times)
    return f"{ours:.0f} ms (then OVN's own {ovn:.0f} ms)"


def changes(server: Server, told: ToldRules, ports: list[str]) -> list[Times]:
    """Change one rule again and again before these NICs; the first warms up."""
    say(f"groups: one rule changed, {len(ports)} NICs")
    set_members(ports)
    return [change(server, told, FEW_RULES, lap) for lap in range(LAPS + 1)][1:]


def seconds_until_followed(server: Server, pair: Pair, others: list[str]) -> list[float]:
    """Change one rule again and again before one who hears and these NICs."""
    say("groups: one rule changed, seen by a guest")
    set_members([pair.receiver_port, *others])
    update(server, rules(FEW_RULES, 0, protocol="PROTOCOL_UDP"))
    return [
        pair.seconds_until_followed(
            lambda lap=lap: update(server, rules(FEW_RULES, lap, protocol="PROTOCOL_UDP")),
            opened=port_of(lap),
            closed=port_of(lap - 1),
        )
        for lap in range(1, LAPS + 1)
    ]


def writes(server: Server, told: ToldRules, count: int) -> list[Times]:
    """Write so many rules into an empty group, some times."""
    say(f"groups: {count} rules written at once")
    times = []
    for _ in range(3):
        update(server, [])
        wait_until(
            lambda: "tcp.dst" not in nbctl("--bare", "--columns=match", "list", "ACL"), "no rule is left"
        )
        sync()
        times.append(timed(lambda: update(server, rules(count, 0)), told, last_port=port_of(0)))
    return times


def change(server: Server, told: ToldRules, count: int, lap: int) -> Times:
    """Change the first of so many rules."""
    return timed(lambda: update(server, rules(count, lap)), told, last_port=port_of(lap))


def timed(ask: Callable[[], object], told: ToldRules, *, last_port: int) -> Times:
    """Ask; give how long it took until OVN had the rule about a port, and from then on until it was in force."""
    began = time.perf_counter()
    ask()
    had = told.until(f"tcp.dst == {last_port}")
    sync()
    return Times((had - began) * 1000, (time.perf_counter() - had) * 1000)


def rules(count: int, lap: int, *, protocol: str = "PROTOCOL_TCP") -> list[dict[str, Any]]:
    """Make rules that are the same in every lap but for the first, which is another one each time."""
    common = {"protocol": protocol, "ruleType": "RULE_TYPE_INBOUND"}
    others = [{"id": f"r{number}", "ports": str(number), **common} for number in range(1, count)]
    return [{"ports": str(port_of(lap)), **common}, *others]


def port_of(lap: int) -> int:
    """Say which port the first rule is about in a lap."""
    return 20_000 + lap


def update(server: Server, wanted: list[dict[str, Any]]) -> None:
    """Replace the group's rules."""
    server.ask("PATCH", f"security-groups/{GROUP}", json={"rules": wanted})


@contextmanager
def a_group(server: Server, told: ToldRules) -> Iterator[None]:
    """Have a group for as long as the block lasts."""
    wanted = {"id": GROUP, "dataCenterId": "local", "rules": rules(1, 999)}
    server.ask("POST", "security-groups", json=wanted)
    told.until(f"tcp.dst == {port_of(999)}")
    try:
        yield
    finally:
        server.ask("DELETE", f"security-groups/{GROUP}")


@contextmanager
def stand_ins(count: int) -> Iterator[list[str]]:
    """Make ports on a switch of their own, some of them plugged in."""
    ports = [str(uuid4()) for _ in range(count)]
    additions = [word for port in ports for word in ("--", "lsp-add", SWITCH, port)]
    nbctl("ls-add", SWITCH, *additions)
    for number, port in enumerate(ports[:PLUGGED]):
        vsctl("add-port", "br-int", f"nic{number}", "--", "set", "Interface", f"nic{number}", "type=internal",
              f"external_ids:iface-id={port}")  # fmt: skip
    try:
        yield ports
    finally:
        for number in range(PLUGGED):
            vsctl("del-port", "br-int", f"nic{number}")
        nbctl("ls-del", SWITCH)


def set_members(ports: list[str]) -> None:
    """Have just these ports in the group, and in force."""
    name = nbctl("--bare", "--columns=name", "list", "Port_Group").split()[0]
    nbctl("clear", "Port_Group", name, "ports")
    if ports:
        nbctl("pg-set-ports", name, *ports)
    sync()


def sync() -> None:
    """Return when each host has put in force what OVN's database has."""
    nbctl("--wait=hv", "sync")


def nbctl(*words: str) -> str:
    """Ask OVN's database."""
    return told_by("ovn-nbctl", *words)


def vsctl(*words: str) -> str:
    """Ask Open vSwitch."""
    return told_by("ovs-vsctl", *words)


def told_by(*words: str) -> str:
    """Run a command that must succeed; gives what it prints."""
    command = (words[0], "--timeout=30", *words[1:])
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
