"""Changing what a VM is: its size, its labels, its end."""

from datetime import timedelta
from decimal import Decimal

import pytest
from tests.made_up import NOON, PROJECT, Cloud
from tests.projects.people import add_user
from tests.words import A_TIME_TO_COME, MUST_BE_STOPPED, NO_CAPACITY, ONE_REQUIRED

from cumulet.errors import Forbidden, Invalid, NotFound, Refused
from cumulet.hosts import Reservation
from cumulet.projects import Role
from cumulet.vm_record.wire import VmState
from cumulet.vms import change_operations as changes
from cumulet.vms import operations as verbs
from cumulet.vms.create.plan import resized_topology
from cumulet.vms.wire import CpuTopology, UpdateVmExpireTime, UpdateVmMetadata


def ask(cloud, verb, id="hello", caller=None, **arguments):
    return cloud.call(verb, caller, project_id=PROJECT, id=id, **arguments)


def stopped(cloud, **fields):
    cloud.running(**fields)
    cloud.ask(verbs.stop_vm)
    cloud.settle()


def reserved(cloud):
    with cloud.database.reading() as db:
        row = db.get(Reservation, cloud.row().id)
        return row.vcpus, row.memory_mib


def label(cloud, *, merge=False, **metadata):
    data = UpdateVmMetadata(metadata=metadata, merge=merge)
    return ask(cloud, changes.update_vm_metadata, data=data).metadata


def expire(cloud, **data):
    return ask(cloud, changes.update_vm_expire_time, data=UpdateVmExpireTime(**data)).expire_time


# Resize
def test_a_stopped_vm_gets_another_size_from_its_next_start_on(cloud):
    stopped(cloud, vcpus=2, memory_gib=4)
    before = cloud.vm()
    vm = ask(cloud, changes.resize_vm, vcpus=3, memory_gib=6).vm
    assert (vm.vcpus, vm.memory, vm.state) == (3, 6, VmState.STOPPED)
    assert Decimal(vm.price.total_vcpu_price_hr.value) == 3 * Decimal(before.price.vcpu_price_hr.value)
    assert Decimal(vm.price.total_memory_price_hr.value) == 6 * Decimal(
        before.price.memory_gib_price_hr.value
    )
    assert reserved(cloud) == (3, 6 * 1024)
    cloud.ask(verbs.start_vm)
    cloud.settle()
    spec = cloud.host.contents.machines[cloud.row().id].spec
    assert (spec.vcpus, spec.memory_mib) == (3, 6 * 1024)
    assert "vm.resize_requested" in cloud.events()


def test_what_is_unset_stays(cloud):
    stopped(cloud, vcpus=2, memory_gib=4)
    assert ask(cloud, changes.resize_vm, vcpus=4).vm.memory == 4
    assert ask(cloud, changes.resize_vm, memory_gib=5).vm.vcpus == 4


def test_a_vm_that_runs_is_not_resized(cloud):
    cloud.running()
    with pytest.raises(Refused) as refusal:
        ask(cloud, changes.resize_vm, vcpus=4)
    assert (refusal.value.code, refusal.value.reason) == (9, "VM_NOT_STOPPED")


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ({}, "at least one must change"),
        ({"vcpus": 2, "memory_gib": 4}, "at least one must change"),
        ({"vcpus": 257}, "vcpus: 257 is not accepted; expected 1 to 256"),
        ({"vcpus": -1}, "vcpus: -1"),
        ({"memory_gib": 4097}, "memoryGib: 4097"),
        ({"vcpus": 128, "memory_gib": 1}, "vCPUs for each GiB"),
    ],
    ids=str,
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_size_out_of_its_rule_is_refused_and_changes_nothing(cloud, size, words):
    stopped(cloud)
    with pytest.raises(Invalid) as refusal:
        ask(cloud, changes.resize_vm, **size)
    assert words in refusal.value.message
    assert (cloud.vm().vcpus, cloud.vm().memory) == (2, 4)
    assert reserved(cloud) == (2, 4096)


def test_a_size_that_its_host_has_no_room_for_is_refused_with_the_nearest_that_fits(cloud):
    cloud.create(vm_id="large", vcpus=16, memory_gib=200)
    stopped(cloud, vcpus=2, memory_gib=4)
    with cloud.database.writing() as db:
        owner = add_user(db, "ann", default=Role.OWNER)
    with pytest.raises(Invalid) as refusal:
        ask(cloud, changes.resize_vm, caller=owner, vcpus=4, memory_gib=60)
    assert "1 host: 55 GiB memory free, 60 requested" in refusal.value.message
    assert refusal.value.message.endswith("nearest size that fits is 4 vCPUs, 55 GiB memory")
    assert refusal.value.details[0]["reason"] == "NO_CAPACITY"
    assert ask(cloud, changes.resize_vm, vcpus=4, memory_gib=55).vm.memory == 55


@pytest.mark.parametrize("make", [Cloud.running, stopped])
def test_whether_there_is_room_is_told_before_a_vm_is_stopped_for_it(cloud, make):
    make(cloud, vcpus=2, memory_gib=4)
    before, told = cloud.vm(), cloud.events()
    as_it_would_be = ask(cloud, changes.resize_vm, vcpus=3, memory_gib=6, validate_only=True).vm
    assert (as_it_would_be.vcpus, as_it_would_be.memory, as_it_would_be.state) == (3, 6, before.state)
    with pytest.raises(Invalid, match=NO_CAPACITY):
        ask(cloud, changes.resize_vm, vcpus=16, memory_gib=1000, validate_only=True)
    assert (cloud.vm(), cloud.events(), reserved(cloud)) == (before, told, (2, 4096))


def test_of_a_vm_that_could_not_be_stopped_now_it_is_not_told_that_there_is_room(cloud):
    cloud.create()
    with pytest.raises(Refused, match=MUST_BE_STOPPED):
        ask(cloud, changes.resize_vm, vcpus=4, validate_only=True)


def test_what_a_smaller_size_gives_back_can_be_had_by_others(cloud):
    stopped(cloud, vcpus=32, memory_gib=250)
    with pytest.raises(Invalid, match=NO_CAPACITY):
        cloud.create(vm_id="other", vcpus=2, memory_gib=100)
    ask(cloud, changes.resize_vm, memory_gib=150)
    assert cloud.create(vm_id="other", vcpus=2, memory_gib=100).state is VmState.PENDING


def test_a_topology_keeps_its_sockets_and_threads_and_its_cores_follow(cloud):
    stopped(cloud, vcpus=4, topology=CpuTopology(sockets=2, cores=2, threads=1))
    ask(cloud, changes.resize_vm, vcpus=8)
    row = cloud.row()
    assert (row.sockets, row.cores, row.threads) == (2, 4, 1)
    with pytest.raises(Invalid, match="vcpus: 7 is not accepted; expected a multiple of 2"):
        ask(cloud, changes.resize_vm, vcpus=7)


def test_without_a_topology_there_is_none_to_keep():
    assert resized_topology((0, 0, 0), 7) == (0, 0, 0)
    assert resized_topology((1, 2, 2), 2) == (1, 1, 2)


# Metadata
def test_metadata_is_replaced_or_merged(cloud):
    cloud.create(metadata={"team": "blue", "stage": "test"})
    assert label(cloud, merge=True, stage="live", owner="ann") == {
        "team": "blue",
        "stage": "live",
        "owner": "ann",
    }
    assert cloud.vm().metadata == {"team": "blue", "stage": "live", "owner": "ann"}
    assert label(cloud, team="red") == {"team": "red"}
    assert label(cloud) == {} == cloud.vm().metadata
    assert cloud.events().count("vm.metadata_changed") == 3


def test_metadata_has_the_limits_of_a_create_merged_as_it_is(cloud):
    cloud.create(metadata={f"a{n}": "" for n in range(60)})
    with pytest.raises(Invalid, match="metadata: '65 entries'"):
        label(cloud, merge=True, **{f"b{n}": "" for n in range(5)})
    assert len(cloud.vm().metadata) == 60


def test_metadata_is_bounded_in_sum_by_its_bytes(cloud):
    cloud.create(metadata={f"a{n}": "ä" * 2046 for n in range(4)})
    with pytest.raises(
        Invalid, match="metadata: '16388 bytes' is not accepted; expected at most 16384 in all"
    ):
        label(cloud, merge=True, b=" " * 11)
    assert len(label(cloud, merge=True, b=" " * 7)) == 5


# Expiry
def test_a_vm_goes_when_its_new_time_is_over(cloud):
    cloud.running()
    assert expire(cloud, ttl="90s") == cloud.clock() + timedelta(seconds=90) == cloud.vm().expire_time
    cloud.pass_time(89)
    assert cloud.vm().state is VmState.ACTIVE
    cloud.pass_time(5)
    with pytest.raises(NotFound):
        cloud.vm()


def test_a_later_time_lets_it_live_on(cloud):
    cloud.running(ttl="60s")
    expire(cloud, expire_time=NOON + timedelta(hours=1))
    cloud.pass_time(600)
    assert cloud.vm().state is VmState.ACTIVE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, ONE_REQUIRED),
        ({"ttl": "60s", "expire_time": NOON + timedelta(hours=1)}, "only one of"),
        ({"ttl": "soon"}, "'soon'"),
        ({"expire_time": NOON - timedelta(hours=1)}, A_TIME_TO_COME),
    ],
    ids=str,
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_time_out_of_its_rule_is_refused(cloud, data, words):
    cloud.create(ttl="3600s")
    before = cloud.vm().expire_time
    with pytest.raises(Invalid, match=words):
        expire(cloud, **data)
    assert cloud.vm().expire_time == before


def test_a_vm_that_is_being_terminated_gets_no_other_end(cloud):
    cloud.running()
    cloud.ask(verbs.terminate_vm)
    with pytest.raises(Refused, match="already being terminated"):
        expire(cloud, ttl="60s")


# Who may
CALLS = {
    changes.resize_vm: {"vcpus": 3},
    changes.update_vm_metadata: {"data": UpdateVmMetadata()},
    changes.update_vm_expire_time: {"data": UpdateVmExpireTime(ttl="60s")},
}


@pytest.mark.parametrize("verb", CALLS, ids=lambda verb: verb.__name__)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_only_editors_of_its_project_may_change_a_vm(cloud, verb):
    stopped(cloud)
    with cloud.database.writing() as db:
        viewer, stranger = add_user(db, "viewer", default=Role.VIEWER), add_user(db, "stranger")
    with pytest.raises(Forbidden):
        ask(cloud, verb, caller=viewer, **CALLS[verb])
    with pytest.raises(NotFound, match="'default'"):
        ask(cloud, verb, caller=stranger, **CALLS[verb])
    with pytest.raises(NotFound, match="'nobody'"):
        ask(cloud, verb, id="nobody", **CALLS[verb])
