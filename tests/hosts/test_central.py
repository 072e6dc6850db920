"""Which hosts have OVN's databases, step by step: never fewer than more than half of them, whoever is away meanwhile."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from cumulet.doctor.calls import Certified, Cluster, Overlay, Place, Proof
from cumulet.errors import Unavailable
from cumulet.hosts.central import Look
from cumulet.hosts.overlay import RENEWED, Centre, Vouching

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class World:
    """Hosts with the databases that they have: one that is away answers nobody, and takes part in nothing."""

    def __init__(self, tmp_path, count):
        self.now = NOON
        self.vouching = Vouching.below(tmp_path, lambda: self.now)
        self.together = set()
        self.hosts = {f"h{number}": Doctor(self, f"10.0.0.{number}") for number in range(1, count + 1)}
        self.hosts["h1"].overlay = Overlay("10.0.0.1")
        for host in list(self.hosts.values())[1:]:
            host.overlay = Overlay(host.address, "ssl:10.0.0.1:6642")
        self.certified = 0

    def there(self):
        """The members that are there."""
        return {
            one.address
            for one in self.hosts.values()
            if not one.is_away and one.address in self.together and one.has
        }

    def has_quorum(self):
        return len(self.there()) > len(self.together) / 2

    def look(self, *wanted, hold=lambda: None):
        return Look(self.hosts, wanted, self.vouching, hold).take()

    def settle(self, *wanted):
        for _ in range(20):
            seen = self.look(*wanted)
            assert not self.together or self.has_quorum(), "nothing could be written any more"
            if not seen.has_more:
                return seen
        raise AssertionError(seen)


class Doctor:
    def __init__(self, world, address):
        self.world, self.address = world, address
        self.is_away, self.has, self.prepared, self.is_outdated = False, False, 0, False
        self.proofs = {}

    def read_place(self):
        if self.is_away:
            raise Unavailable(f"{self.address} does not answer")
        members = tuple(sorted(self.world.together))
        takes_part = self.address in self.world.together and self.world.has_quorum()
        cluster = Cluster(members, (), (), takes_part, self.is_outdated) if self.has else None
        return Place(f"chassis of {self.address}", self.overlay, dict(self.proofs), cluster)

    def found_cluster(self, address):
        assert not self.world.together
        assert Proof.CENTRAL in self.proofs
        self.world.together, self.has = {address}, True
        self.overlay = Overlay(address, f"ssl:{address}:6642", (address,))

    def find_address(self, peer):
        self.asked_for = peer
        return self.address

    def forget_earlier_names(self, chassis, address):
        self.forgotten = (chassis, address)

    def prepare_host(self, *_, overlay=None, **__):
        self.prepared += 1
        self.is_outdated = False
        self.overlay = overlay = overlay or self.overlay
        self._settle(overlay)
        return SimpleNamespace(chassis=f"chassis of {self.address}")

    def _settle(self, overlay):
        if not overlay.members:
            self.has = False
        elif not self.has:
            assert Proof.CENTRAL in self.proofs
            there = self.world.there()
            assert there, "nobody lets it in"
            known = {one.address: one.overlay.members for one in self.world.hosts.values()}
            assert all(self.address in known[member] for member in there), "their ports are closed to it"
            self.world.together |= {self.address}
            self.has = True

    def open_overlay(self, address):
        assert address == self.address
        assert Proof.CENTRAL in self.proofs
        self.is_open = True
        return f"ssl:{address}:6642"

    def part_with(self, address):
        assert self.world.has_quorum()
        assert address != self.address
        self.world.together -= {address}

    def propose_certificate(self, proof):
        return proof

    def adopt_certificate(self, proof, _, believed, heard=""):
        self.world.certified += 1
        self.proofs[proof] = Certified(self.world.now + timedelta(days=800), believed, heard)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr("cumulet.hosts.overlay.vouch_for_host", lambda *_, **__: "a certificate")
    return World(tmp_path, 5)


def test_one_host_has_them_alone_until_others_are_chosen(world):
    seen = world.settle("h1")
    assert (seen.central, seen.members) == ({"h1"}, ("10.0.0.1",))
    assert world.hosts["h2"].overlay == Overlay("10.0.0.2", "ssl:10.0.0.1:6642")
    assert world.hosts["h1"].is_open
    assert not world.together


def test_three_that_are_chosen_have_them_together_and_all_others_ask_any_of_these(world):
    seen = world.settle("h1", "h2", "h3")
    assert seen.central == {"h1", "h2", "h3"}
    remotes = "ssl:10.0.0.1:6642,ssl:10.0.0.2:6642,ssl:10.0.0.3:6642"
    assert world.hosts["h2"].overlay == Overlay("10.0.0.2", remotes, ("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    assert world.hosts["h4"].overlay == Overlay("10.0.0.4", remotes)
    prepared = [host.prepared for host in world.hosts.values()]
    world.settle("h1", "h2", "h3")
    assert [host.prepared for host in world.hosts.values()] == prepared, "what is right is left alone"


def test_a_member_whose_packages_have_a_newer_schema_than_is_served_is_prepared_and_no_other(world):
    world.settle("h1", "h2", "h3")
    before = {name: host.prepared for name, host in world.hosts.items()}
    world.hosts["h2"].is_outdated = True
    world.settle("h1", "h2", "h3")
    assert {name: host.prepared for name, host in world.hosts.items()} == before | {"h2": before["h2"] + 1}


def test_they_go_from_one_host_to_three_others_and_back_to_one(world):
    assert world.settle("h3", "h4", "h5").central == {"h3", "h4", "h5"}
    assert not world.hosts["h1"].has
    assert world.settle("h2").central == {"h2"}
    assert world.together == {"10.0.0.2"}
    assert not any(world.hosts[name].has for name in ("h3", "h4", "h5"))


def test_one_that_dies_is_parted_with_once_another_has_its_place(world):
    world.settle("h1", "h2", "h3")
    world.hosts["h2"].is_away = True
    assert world.settle("h1", "h2", "h3").central == {"h1", "h3"}
    assert "10.0.0.2" in world.together, "it may be back"
    assert world.settle("h1", "h3", "h4").central == {"h1", "h3", "h4"}
    world.hosts["h2"].is_away = False
    assert world.settle("h1", "h3", "h4").central == {"h1", "h3", "h4"}
    assert not world.hosts["h2"].has
    assert world.settle("h1", "h2", "h3").central == {"h1", "h2", "h3"}, "as a new one"


def test_one_that_comes_back_with_new_disks_joins_as_a_new_one(world):
    world.settle("h1", "h2", "h3")
    world.hosts["h2"].has = False
    assert world.settle("h1", "h2", "h3").central == {"h1", "h2", "h3"}
    assert world.hosts["h2"].has


def test_while_more_than_half_are_away_nothing_is_tried_and_it_is_told(world):
    world.settle("h1", "h2", "h3")
    world.hosts["h1"].is_away = world.hosts["h2"].is_away = True
    seen = world.look("h3", "h4", "h5")
    assert "more than half" in seen.problem
    assert (seen.has_more, world.together) == (False, {"10.0.0.1", "10.0.0.2", "10.0.0.3"})


def test_a_look_that_is_somebody_elses_by_now_does_nothing_that_counts(world):
    def taken_over():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.look("h1", "h2", "h3", hold=taken_over)
    assert not world.together


def test_certificates_are_made_anew_long_before_they_end_and_only_then(world):
    world.settle("h1", "h2", "h3")
    made = world.certified
    assert made == 5 + 3, "each host proves who it is, and three what they have"
    world.now += timedelta(days=800) - RENEWED - timedelta(days=1)
    world.settle("h1", "h2", "h3")
    assert world.certified == made
    world.now += timedelta(days=2)
    world.settle("h1", "h2", "h3")
    assert world.certified == 2 * made


def test_when_another_authority_vouches_all_learn_of_it_and_go_on_believing_the_earlier_one(world):
    world.settle("h1", "h2", "h3")
    earlier = world.hosts["h4"].proofs[Proof.HOST].believed
    world.now += timedelta(days=3650 - 700)
    world.settle("h1", "h2", "h3")
    believed = world.hosts["h4"].proofs[Proof.HOST].believed
    assert earlier in believed
    assert believed != earlier
    world.now += timedelta(days=700)
    world.settle("h1", "h2", "h3")
    assert earlier not in world.hosts["h4"].proofs[Proof.HOST].believed


def test_a_host_is_taken_in_by_the_one_that_has_the_databases_alone_at_the_address_that_they_share(world):
    centre, new = Centre(world.hosts["h1"], world.vouching), world.hosts["h5"]
    new.overlay = None
    centre.take_in(new, "h5")
    assert (world.hosts["h1"].asked_for, new.asked_for) == ("h5", "10.0.0.1")
    assert new.overlay == Overlay("10.0.0.5", "ssl:10.0.0.1:6642")
    assert world.hosts["h1"].is_open
    assert world.hosts["h1"].forgotten == ("chassis of 10.0.0.5", "10.0.0.5")
    assert {*new.proofs} == {Proof.HOST}


def test_a_host_is_taken_in_to_ask_any_of_those_that_have_them_together(world):
    members = world.settle("h1", "h2", "h3").members
    new = world.hosts["h5"]
    new.overlay = None
    Centre(world.hosts["h2"], world.vouching, members).take_in(new, "h5")
    assert new.overlay == Overlay("10.0.0.5", "ssl:10.0.0.1:6642,ssl:10.0.0.2:6642,ssl:10.0.0.3:6642")


def test_the_first_host_of_servers_without_one_has_the_databases(world):
    first = world.hosts["h2"]
    first.overlay = None
    Centre(None, world.vouching).take_in(first, "h2", find_own_address=lambda peer: f"the server's to {peer}")
    assert (first.asked_for, first.overlay) == ("the server's to h2", Overlay("10.0.0.2"))
    assert (first.is_open, {*first.proofs}) == (True, {*Proof})
