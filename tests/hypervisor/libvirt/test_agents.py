"""An agent that sends what none sends is left alone until the next start; libvirtd never speaks with any."""

import pytest
from tests.hypervisor.libvirt.conftest import running_xml
from tests.hypervisor.libvirt.peers import agent, peer, with_files

from cumulet.hypervisor import NO_GUEST, GuestRefused, GuestSilent
from cumulet.hypervisor.libvirt import credentials, fsfreeze, guests
from cumulet.hypervisor.libvirt.agent import AgentSilent
from cumulet.hypervisor.libvirt.agents import read_channel
from cumulet.hypervisor.libvirt.domain_xml import AGENT_PORT

WILD = agent(lambda *_: b'{"return": ' + b"[" * 400_000 + b"\n")


@pytest.fixture
def told():
    return []


@pytest.fixture
def wild(agents_of, vm_id, told):
    """Agents of a host, one of whose guests has just sent what no agent sends."""
    agents, path = agents_of(told=told.append)
    with peer(path, WILD):
        assert guests.ping(agents, vm_id) is None
    return agents, path


def test_it_is_asked_nothing_more_and_who_asks_is_told_why(wild, vm_id, told):
    agents, path = wild
    assert told == [vm_id]
    asked = []
    with peer(path, asked.append):
        assert guests.ask_guest(agents, vm_id) == NO_GUEST
        assert guests.ping(agents, vm_id) is None
        guests.shut_down(agents, vm_id)
        assert not fsfreeze.freeze(agents, vm_id)
        assert fsfreeze.thaw(agents, vm_id)
        for verb in (
            lambda: credentials.set_password(agents, vm_id, "$6$"),
            lambda: credentials.replace_keys(agents, vm_id, ["a key"], instead_of=[]),
        ):
            with pytest.raises(GuestRefused, match=r"ignored until the next start: it nested"):
                verb()
    assert asked == []
    assert "no agent should" in agents.why_left_alone(vm_id)
    assert told == [vm_id]


def test_another_start_gives_it_another_chance(wild, vm_id, agents_of):
    agents, path = wild
    agents._connection.machines[vm_id.bytes] = running_xml(path, started="8", state="connected")
    assert agents.why_left_alone(vm_id) == ""
    with peer(path, agent(with_files({}))):
        assert guests.ask_guest(agents, vm_id).agent


def test_a_guest_without_an_agent_is_not_even_called(agents_of, vm_id):
    agents, path = agents_of(state="disconnected")
    asked = []
    with peer(path, asked.append):
        assert guests.ask_guest(agents, vm_id) == NO_GUEST
        assert fsfreeze.thaw(agents, vm_id)
        with pytest.raises(GuestSilent):
            credentials.set_password(agents, vm_id, "$6$")
    assert asked == []


def test_a_guest_that_is_frozen_and_slow_is_asked_to_go_on_again(agents_of, vm_id, monkeypatch):
    monkeypatch.setattr(fsfreeze, "THAW_SECONDS", 0.2)
    agents, path = agents_of()
    with peer(path, lambda line: line.recv(1)):
        assert not fsfreeze.thaw(agents, vm_id)


@pytest.mark.parametrize(("count", "froze"), [(2, True), (0, False)])
def test_a_guest_holds_still_when_it_says_so(agents_of, vm_id, count, froze):
    agents, path = agents_of()
    with peer(path, agent(with_files({}, **{"guest-fsfreeze-freeze": count}))):
        assert fsfreeze.freeze(agents, vm_id) is froze


def test_a_machine_whose_agent_is_in_libvirtds_hands_is_not_asked(tmp_path):
    old = running_xml(tmp_path / "agent", started="7", state="connected", name=AGENT_PORT)
    with pytest.raises(AgentSilent, match="stopped and started"):
        read_channel(old)


def test_a_machine_that_is_off_has_nobody_to_ask():
    off = "<domain><devices><channel><target name='org.cumulet.agent.0'/></channel></devices></domain>"
    with pytest.raises(AgentSilent, match="off"):
        read_channel(off)
