from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import select
from tests.made_up import NOON

from cumulet.hosts import (
    Host,
    HostState,
    Requirements,
    capacities,
    installation_id,
    register_host,
    release,
    reserve,
)
from cumulet.hosts.inventory import HOST_DISK_GIB, HOST_MEMORY_MIB
from cumulet.hypervisor.memory import memory_hosts


@pytest.fixture
def facts():
    return memory_hosts("memory:?vcpus=8&memory_gib=16&disk_gib=100", pools=("local", "fast"))[
        "memory-1"
    ].facts()


def register(db, facts):
    return register_host(db, facts, data_center_id="local", uri="memory:", now=NOON)


def room_of(database, vcpus_per_cpu=1):
    with database.reading() as db:
        (capacity,) = capacities(db, "local", vcpus_per_cpu=vcpus_per_cpu)
    return capacity.free_vcpus, capacity.free_memory_mib, capacity.free_disk_gib


WHOLE = (8, 16 * 1024 - HOST_MEMORY_MIB, {"local": 100 - HOST_DISK_GIB, "fast": 100 - HOST_DISK_GIB})


def test_a_host_is_known_by_its_name_and_its_facts_follow(database, facts):
    for cpus in (8, 12):
        with database.writing() as db:
            register(db, replace(facts, cpus=cpus))
    with database.reading() as db:
        (host,) = db.scalars(select(Host)).all()
    assert (host.cpus, host.state, host.seen_at) == (12, HostState.UP, NOON)


def test_servers_that_start_together_agree_who_they_are_and_which_hosts_there_are(open_database, facts):
    def start(database):
        with database.writing() as db:
            return installation_id(db), register(db, facts).id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(start, [open_database() for _ in range(4)]))) == 1


def test_a_host_keeps_something_for_itself(database, facts):
    with database.writing() as db:
        register(db, facts)
    assert room_of(database) == WHOLE


def test_vcpus_are_promised_more_than_once_where_the_machine_type_says_so(database, facts):
    with database.writing() as db:
        register(db, facts)
    assert room_of(database, vcpus_per_cpu=4)[0] == 32


@pytest.mark.parametrize(("vcpus_per_cpu", "free"), [(1, 3), (4, 15), (8, 30)])
def test_vcpus_of_each_machine_type_weigh_what_that_type_promises(database, facts, vcpus_per_cpu, free):
    with database.writing() as db:
        host = register(db, facts)
        for vcpus, vcpus_per_core in ((2, 1), (8, 4), (1, 4)):
            required = Requirements(vcpus=vcpus)
            reserve(db, uuid4(), host.id, required, vcpus_per_core=vcpus_per_core)
    assert room_of(database, vcpus_per_cpu)[0] == free


def test_what_is_reserved_is_not_free_until_it_is_released(database, facts):
    required_by = {
        uuid4(): Requirements(vcpus=2, memory_mib=1024),
        uuid4(): Requirements(disk_gib=10, pool="fast"),
        uuid4(): Requirements(vcpus=1, memory_mib=512, disk_gib=20, pool="fast"),
        uuid4(): Requirements(disk_gib=90, pool="local"),
    }
    with database.writing() as db:
        host = register(db, facts)
        for holder_id, required in required_by.items():
            reserve(db, holder_id, host.id, required)
    free = {"local": 96 - 90, "fast": 96 - 30}
    assert room_of(database) == (WHOLE[0] - 3, WHOLE[1] - 1024 - 512, free)
    for _ in range(2):
        with database.writing() as db:
            for holder_id in required_by:
                release(db, holder_id, now=NOON)
    assert room_of(database) == WHOLE


def test_a_pool_that_is_not_mounted_has_no_room(database, facts):
    with database.writing() as db:
        register(db, replace(facts, disk_gib={"local": 100, "fast": 0}))
    assert room_of(database)[2] == {"local": 100 - HOST_DISK_GIB, "fast": 0}


def test_hosts_of_other_data_centers_do_not_count(database, facts):
    with database.writing() as db:
        register(db, facts)
    with database.reading() as db:
        assert not capacities(db, "elsewhere", vcpus_per_cpu=1)


def test_creates_at_once_never_promise_the_same_room_twice(cloud):
    """One host with room for seven: of ten at once, three are refused."""

    def create(number):
        try:
            cloud.create(vm_id=f"vm-{number}", memory_gib=36, vcpus=4)
        except Exception as refused:  # noqa: BLE001 - told apart below
            return type(refused).__name__
        return "created"

    with ThreadPoolExecutor(4) as pool:
        ends = sorted(pool.map(create, range(10)))
    assert ends == ["Invalid"] * 3 + ["created"] * 7
