"""Which hosts are to have OVN's databases, and what is known of it; how they get there shows `tests/hosts/test_central.py`."""

from dataclasses import replace
from functools import partial

import pytest
from tests.hosts.test_central import World
from tests.made_up import make_cloud

from cumulet.errors import Invalid, Refused, Unavailable
from cumulet.fleet import add_operations, central_operations, operations
from cumulet.fleet.between import SOON, Between
from cumulet.fleet.wire import AddHost, ChooseCentral
from cumulet.hosts import (
    Host,
    HostState,
    Installation,
    central_addresses,
    change_standing,
    installation_id,
    lost,
    wake_between,
)
from cumulet.hosts.overlay import Vouching
from cumulet.journal import events_about

NAMES = ["memory-1", "memory-2", "memory-3", "memory-4"]


@pytest.fixture
def cloud(database, tmp_path, monkeypatch):
    """Four hosts, of which the first has the databases alone."""
    monkeypatch.setattr("cumulet.hosts.overlay.vouch_for_host", lambda *_, **__: "a certificate")
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=4&vcpus=8&memory_gib=16&disk_gib=100")
    cloud.world = World(tmp_path / "world", 4)
    cloud.world.vouching = None
    cloud.doctors |= dict(zip(NAMES, cloud.world.hosts.values(), strict=True))
    for doctor in cloud.doctors.values():
        doctor.ensure_operators_uplink = lambda _: None
    with database.writing() as db:
        installation_id(db)
    return cloud


def look(cloud):
    """Look at the network between hosts until there is nothing more to do."""
    cloud.world.now = cloud.clock()
    with cloud.database.writing() as db:
        wake_between(db, now=cloud.clock())
    cloud.run()


def choose(cloud, *names):
    cloud.call(central_operations.choose_central, data=ChooseCentral(hosts=list(names)))
    look(cloud)


def central(cloud):
    return [host.id for host in cloud.call(operations.list_hosts).hosts if host.central]


def members(cloud):
    with cloud.database.reading() as db:
        return list(central_addresses(db))


def lose(cloud, name):
    with cloud.database.writing() as db:
        host = db.query(Host).filter(Host.name == name).one()
        change_standing(db, host, lost(host.standing, cloud.clock(), "its power is off"), now=cloud.clock())
    cloud.doctors[name].is_away = True


def test_the_servers_own_machine_has_the_databases_until_others_are_chosen(cloud):
    look(cloud)
    assert (central(cloud), members(cloud)) == (["memory-1"], [])


def test_a_host_that_is_added_before_the_first_look_is_taken_in_by_the_servers_own_machine(cloud, tmp_path):
    between = Between(
        lambda host: cloud.doctors[host.name], Vouching.below(tmp_path, cloud.clock), cloud.catalogue
    )
    cloud.doctors = {"memory-1": object()}
    with cloud.database.reading() as db:
        centre = between.centre(db, "b")
    assert (centre.doctor, centre.members) == (cloud.doctors["memory-1"], ())


def test_three_that_are_chosen_have_them_and_servers_are_told_where(cloud):
    choose(cloud, *NAMES[1:])
    assert (central(cloud), members(cloud)) == (NAMES[1:], ["10.0.0.2", "10.0.0.3", "10.0.0.4"])
    shown = cloud.call(operations.get_host, id="memory-2").host
    assert shown.proved_until is not None
    with cloud.database.reading() as db:
        told = [
            event.text for event in events_about(db, db.query(Host).filter(Host.name == "memory-2").one().id)
        ]
    assert "OVN's databases are to be on memory-2, memory-3, memory-4" in told


def test_one_that_is_lost_has_its_place_taken_by_another(cloud):
    choose(cloud, *NAMES[:3])
    lose(cloud, "memory-2")
    look(cloud)
    assert central(cloud) == ["memory-1", "memory-3", "memory-4"]
    assert not cloud.call(operations.get_host, id="memory-2").host.to_be_central


def test_one_that_did_not_answer_for_a_moment_gets_them_half_a_minute_later(cloud):
    cloud.doctors["memory-2"].is_away = True
    choose(cloud, *NAMES[:3])
    cloud.doctors["memory-2"].is_away = False
    cloud.clock.advance(SOON.total_seconds())
    cloud.world.now = cloud.clock()
    cloud.run()
    assert central(cloud) == NAMES[:3]


def test_one_that_has_them_is_removed_only_once_they_are_elsewhere(cloud):
    choose(cloud, *NAMES[:3])
    with pytest.raises(Refused, match="cumulet host central"):
        cloud.call(operations.remove_host, id="memory-2")
    choose(cloud, "memory-1")
    cloud.call(operations.remove_host, id="memory-2")


@pytest.mark.parametrize("names", [[], ["memory-1", "memory-2"], ["memory-1", "memory-1", "memory-2"]])
def test_one_is_chosen_or_three(cloud, names):
    with pytest.raises(Invalid, match="one host, or three"):
        choose(cloud, *names)


def test_who_is_chosen_must_be_there(cloud):
    with pytest.raises(Invalid, match="hosts: there is no host 'memory-9'"):
        choose(cloud, "memory-9")
    lose(cloud, "memory-2")
    with pytest.raises(Refused, match="LOST"):
        choose(cloud, *NAMES[:3])


def test_without_a_machine_of_the_servers_the_first_host_gets_the_databases_and_others_wait_for_it(
    cloud, tmp_path
):
    with cloud.database.writing() as db:
        db.query(Host).delete()
    for name in ("a", "b"):
        cloud.call(add_operations.add_host, data=AddHost(destination=f"root@{name}"))
    between = Between(
        lambda host: cloud.doctors[host.name], Vouching.below(tmp_path, cloud.clock), cloud.catalogue
    )
    with cloud.database.reading() as db:
        assert {host.name: host.central for host in db.query(Host)} == {"a": True, "b": False}
        assert between.centre(db, "a").doctor is None, "it begins"
        with pytest.raises(Unavailable, match="must wait for a"):
            between.centre(db, "b")
    with cloud.database.writing() as db:
        db.query(Host).filter(Host.name == "a").update({"state": HostState.UP, "is_central": True})
        db.get_one(Installation, 1).members = ["10.0.0.1"]
    cloud.doctors["a"] = object()
    with cloud.database.reading() as db:
        centre = between.centre(db, "b")
    assert (centre.doctor, centre.members) == (cloud.doctors["a"], ("10.0.0.1",))


def test_each_host_that_has_the_operators_bridge_may_lead_out_and_one_without_stops_no_other(cloud):
    (data_center,) = cloud.catalogue.data_centers
    bridged = replace(data_center, external_bridge="br-public")
    cloud.catalogue = replace(cloud.catalogue, data_centers=(bridged,))
    cloud.reconciler = cloud.new_reconciler()
    asked = []

    def ensure(name, bridge):
        asked.append((name, bridge))
        if name == "memory-2":
            raise Refused("there is no such bridge here", reason="HOST_BRIDGE")

    for name, doctor in cloud.doctors.items():
        doctor.ensure_operators_uplink = partial(ensure, name)
    look(cloud)
    assert asked == [(name, "br-public") for name in NAMES]
