"""What the database keeps of each host, and the best host that it finds by that: the same that is found by looking at all."""

from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.made_up import NOON
from tests.room import counted, kept

from cumulet.db import forget
from cumulet.errors import Invalid
from cumulet.hosts import (
    HostState,
    HostWanted,
    Requirements,
    SizeLimits,
    capacities,
    close,
    has_labels,
    lock_best,
    move_reservation,
    place,
    release,
    reserve,
    reserve_more_disk,
    reserve_second,
)
from cumulet.hosts.inventory import end_second, new_host

LEAST = Requirements(vcpus=1, memory_mib=1024, disk_gib=1)
ANY_SIZE = SizeLimits(least=LEAST, least_vcpus_per_gib=0, most_vcpus_per_gib=1000)
EACH_ANEW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
LABELS = st.dictionaries(st.sampled_from(["cpu", 'a "b".c']), st.sampled_from(["genoa", "it's"]))
WEIGHTS = st.sampled_from([1, 2, 3, 7, 8, 25, 32, 64])
SIZES = st.builds(
    Requirements,
    vcpus=st.integers(0, 6),
    memory_mib=st.integers(0, 4).map(lambda gib: gib * 1024),
    disk_gib=st.integers(0, 8),
    pool=st.sampled_from(["", "local", "fast"]),
)
hosts = st.fixed_dictionaries(
    {
        "cpus": st.integers(0, 4),
        "memory_mib": st.integers(0, 8).map(lambda gib: gib * 1024),
        "disk_gib": st.dictionaries(st.sampled_from(["local", "fast"]), st.integers(0, 24)),
        "labels": LABELS,
        "state": st.sampled_from([HostState.UP, HostState.UP, HostState.CORDONED]),
        "unheard_since": st.sampled_from([None, None, NOON - timedelta(seconds=5)]),
        "shared_pools": st.sampled_from([{}, {}, {"local": ""}, {"local": "a"}, {"local": "b"}]),
        "data_center_id": st.sampled_from(["here", "here", "there"]),
        "taken": st.lists(st.tuples(SIZES, WEIGHTS), max_size=4),
    }
)


def add(db, name, *, taken=(), **columns):
    host = new_host(name, "here", "memory:", labels={}, now=NOON)
    host.wanted, host.state = HostWanted.UP, HostState.UP
    db.add(host)
    db.flush()
    for column, value in columns.items():
        setattr(host, column, value)
    db.flush()
    for required, weight in taken:
        reserve(db, uuid4(), host.id, required, vcpus_per_core=weight)
    return host


def best_of_all(db, required, *, weight, labels, packed):
    free = close(
        capacities(db, "here", vcpus_per_cpu=weight),
        unless=lambda host: has_labels(host.labels, labels),
        why="of another kind",
    )
    try:
        return place(required, free, sizes=ANY_SIZE, packed=packed).host_id
    except Invalid:
        return None


@EACH_ANEW
@given(
    there=st.lists(hosts, max_size=8),
    required=st.builds(
        Requirements,
        vcpus=st.integers(1, 6),
        memory_mib=st.integers(1, 4).map(lambda gib: gib * 1024),
        disk_gib=st.integers(1, 8),
        pool=st.just("local"),
    ),
    weight=WEIGHTS,
    labels=LABELS,
    packed=st.booleans(),
)
def test_the_best_host_is_the_one_that_a_look_at_all_finds(database, there, required, weight, labels, packed):
    with database.writing() as db:
        for number, host in enumerate(there):
            add(db, f"{'Zaä-_z'[number % 6]}{number}", **host)
        assert kept(db) == counted(db)
        found = lock_best(db, "here", required, vcpus_per_cpu=weight, labels=labels, packed=packed)
        of_all = best_of_all(db, required, weight=weight, labels=labels, packed=packed)
        shares = any(host["shared_pools"].get("local") for host in there)
        assert found == of_all or (found is None and shares)
        forget(db)


def test_what_a_host_has_left_follows_all_that_is_done_there(database):
    holder, other = uuid4(), uuid4()
    size = Requirements(vcpus=3, memory_mib=1024, disk_gib=2, pool="local")
    with database.writing() as db:
        one, two = (add(db, name, cpus=4, memory_mib=8192, disk_gib={"local": 20}) for name in "ab")
        for do in (
            lambda: reserve(db, holder, one.id, size, vcpus_per_core=8),
            lambda: reserve(db, other, one.id, size, vcpus_per_core=3),
            lambda: reserve_more_disk(db, holder, 5),
            lambda: reserve_more_disk(db, holder, -6),
            lambda: reserve_second(db, holder, two.id),
            lambda: end_second(db, holder, on=two.id),
            lambda: move_reservation(db, other, two.id),
            lambda: setattr(one, "cpus", 2),
            lambda: setattr(two, "memory_mib", 1024),
            lambda: setattr(two, "data_center_id", "elsewhere"),
            lambda: release(db, holder, now=NOON),
            lambda: release(db, other, now=NOON),
            lambda: db.delete(two),
        ):
            do()
            db.flush()
            db.expire_all()
            assert kept(db) == counted(db)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_host_that_somebody_places_on_is_passed_over(database, open_database):
    size = Requirements(vcpus=1, memory_mib=1024, disk_gib=1, pool="local")
    with database.writing() as db:
        for name in "ab":
            add(db, name, cpus=4, memory_mib=8192, disk_gib={"local": 20})

    def lock(db):
        return lock_best(db, "here", size, vcpus_per_cpu=1, labels={}, packed=False)

    with database.writing() as db, open_database().writing() as beside, open_database().writing() as third:
        assert {lock(db), lock(beside)} == set(kept(db)[0])
        assert lock(third) is None


def test_the_only_host_that_does_is_taken_if_it_has_room(database):
    with database.writing() as db:
        small, large = (
            add(db, str(gib), cpus=4, memory_mib=gib * 1024, disk_gib={"local": 20}) for gib in (4, 8)
        )

        def lock(gib, only):
            size = Requirements(vcpus=1, memory_mib=gib * 1024, disk_gib=1, pool="local")
            return lock_best(db, "here", size, vcpus_per_cpu=1, labels={}, packed=False, only=only)

        assert (lock(1, small.id), lock(5, small.id), lock(5, large.id)) == (small.id, None, large.id)
