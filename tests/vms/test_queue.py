"""Who waits for room gets it in the order in which they came, or is told why not; and nobody overtakes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from tests.call.test_repeats import API_KEY, asking
from tests.made_up import PROJECT, make_cloud, vm_request
from tests.projects.people import add_user
from tests.vms.test_placement import catalogue, host_of

from cumulet.disks import Disk
from cumulet.disks import vm_operations as disks
from cumulet.errors import Exhausted, Invalid, Refused
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import AskOfHost
from cumulet.hosts import QUEUE, Host, Reservation
from cumulet.limits import Limits
from cumulet.operation import OPERATIONS
from cumulet.projects import Role, digest_of
from cumulet.projects.model import ApiKey
from cumulet.quotas import operations as quotas
from cumulet.quotas.wire import SetQuota
from cumulet.vm_record import Vm
from cumulet.vms import change_operations as changes
from cumulet.vms import commitment_operations as commitments
from cumulet.vms import operations as vms
from cumulet.vms import wire

ONE = "memory:?hosts=1&vcpus=16&memory_gib=17&disk_gib=200"
TWO = "memory:?hosts=2&vcpus=16&memory_gib=17&disk_gib=200"


@pytest.fixture
def cloud(database, tmp_path):
    """One host with room for 16 GiB."""
    return make_cloud(database, tmp_path, hypervisor=ONE, catalogue=catalogue())


@pytest.fixture
def pair(database, tmp_path):
    return make_cloud(database, tmp_path, hypervisor=TWO, catalogue=catalogue())


def ask(cloud, id, gib, **fields):
    cloud.clock.advance(1)
    return cloud.create(vm_id=id, memory_gib=gib, vcpus=max(gib // 2, 1), **fields)


def wait(cloud, id, gib, **fields):
    return ask(cloud, id, gib, queue=True, **fields)


def end(cloud, id):
    cloud.ask(vms.terminate_vm, id)
    cloud.settle()


def states(cloud):
    return {one.id: one.short_state for one in cloud.call(vms.list_vms, project_id=PROJECT).vms}


def test_where_there_is_room_nobody_waits(cloud):
    made = wait(cloud, "a", 4)
    assert (made.waiting_for, made.queue_deadline) == ("", None)
    cloud.settle()
    assert cloud.vm("a").short_state == "runn"
    assert cloud.due("queue", QUEUE) is None


def test_one_waits_is_shown_with_its_place_and_reason_and_runs_when_another_goes(cloud):
    ask(cloud, "large", 12)
    cloud.settle()
    made = wait(cloud, "a", 8)
    assert (made.state.value, made.short_state) == ("PENDING", "pend")
    assert made.queue_deadline == cloud.clock() + timedelta(hours=1)
    assert made.waiting_for.startswith(
        "place 1 in line: no host has capacity for this VM (1 host: 4 GiB memory free"
    )
    cloud.settle()
    assert cloud.vm("a").waiting_for == made.waiting_for
    assert states(cloud) == {"large": "runn", "a": "pend"}
    end(cloud, "large")
    assert (cloud.vm("a").short_state, cloud.vm("a").queue_deadline) == ("runn", None)
    told = [name for name in cloud.events("a") if name.startswith(("vm.queued", "vm.placed", "vm.started"))]
    assert told == ["vm.queued", "vm.placed", "vm.started"]


def test_they_get_room_in_the_order_in_which_they_came_and_a_large_one_is_not_starved(cloud):
    ask(cloud, "there", 8)
    wait(cloud, "large", 16)
    wait(cloud, "small", 2)
    cloud.settle()
    small = cloud.vm("small")
    assert (small.short_state, small.waiting_for[:15]) == ("pend", "place 2 in line")
    assert "kept for a VM that has waited for room" in small.waiting_for
    with pytest.raises(Invalid, match="1 host: kept for a VM that has waited for room"):
        ask(cloud, "at-once", 2)
    end(cloud, "there")
    assert states(cloud) == {"large": "runn", "small": "pend"}
    assert cloud.vm("small").waiting_for.startswith("place 1 in line")
    end(cloud, "large")
    assert states(cloud) == {"small": "runn"}


def test_who_goes_to_other_hosts_than_those_who_wait_need_not_wait_for_them(pair):
    apart = {"metadata": {"cumulet/together": "x"}}
    ask(pair, "x", 10, **apart)
    ask(pair, "y", 10)
    assert host_of(pair, "x") != host_of(pair, "y")
    pair.call(hosts.label_host, id=host_of(pair, "x"), data=hosts.LabelHost(labels={"cpu": "genoa"}))
    wait(pair, "waits", 12, machine_type="genoa")
    ask(pair, "z", 4)
    assert host_of(pair, "z") == host_of(pair, "y")


def test_what_no_host_could_ever_hold_is_refused_at_once(cloud):
    with pytest.raises(Invalid, match="no host has capacity"):
        wait(cloud, "huge", 17)
    assert states(cloud) == {}


def test_who_waits_in_vain_has_failed_and_is_told_why(cloud):
    ask(cloud, "there", 12)
    deadline = cloud.clock() + timedelta(minutes=10)
    wait(cloud, "a", 8, queue_deadline=deadline)
    cloud.settle()
    cloud.pass_time(599)
    assert cloud.vm("a").short_state in {"pend", "fail"}
    cloud.pass_time(2)
    shown = cloud.vm("a")
    assert (shown.short_state, shown.waiting_for) == ("fail", "")
    assert shown.problem.startswith("no room became free in time: no host has capacity")
    assert cloud.events("a")[-1] == "vm.queue_ended"
    end(cloud, "there")
    assert cloud.vm("a").short_state == "fail"
    cloud.ask(vms.stop_vm, "a")
    cloud.settle()
    assert cloud.vm("a").short_state == "fail"
    end(cloud, "a")
    assert states(cloud) == {}
    assert cloud.count(Reservation) == 0


def test_who_is_deleted_waits_no_more_and_lets_others_go_on(cloud):
    ask(cloud, "there", 8)
    wait(cloud, "large", 16)
    wait(cloud, "small", 2)
    cloud.settle()
    end(cloud, "large")
    assert states(cloud) == {"there": "runn", "small": "runn"}


def test_nothing_is_reserved_for_who_waits_but_their_project_has_it_by_its_quota(cloud):
    ask(cloud, "there", 12)
    before = cloud.count(Reservation)
    cloud.call(quotas.set_quota, project_id=PROJECT, name="memory_gib", data=SetQuota(limit=20))
    wait(cloud, "a", 8)
    assert cloud.count(Reservation) == before
    with pytest.raises(Exhausted):
        wait(cloud, "b", 1)


def test_one_user_has_no_more_that_wait_than_the_operator_allows_and_others_still_may(database, tmp_path):
    limited = replace(catalogue(), limits=Limits(waiting_vms_per_user=2))
    cloud = make_cloud(database, tmp_path, hypervisor=ONE, catalogue=limited)
    ask(cloud, "large", 16)
    wait(cloud, "a", 8)
    wait(cloud, "b", 8)
    with pytest.raises(Exhausted, match=r"2 VMs of yours wait for room .*, the most that one user may have"):
        wait(cloud, "c", 8)
    with cloud.database.writing() as db:
        ben = add_user(db, "ben", default=Role.EDITOR)
    wait(cloud, "d", 8, caller=ben)
    end(cloud, "a")
    wait(cloud, "c", 8)


def test_a_host_that_takes_new_ones_again_wakes_those_who_wait(pair):
    pair.call(hosts.cordon_host, id="memory-2", data=AskOfHost())
    ask(pair, "there", 12)
    wait(pair, "a", 12)
    pair.settle()
    assert pair.vm("a").short_state == "pend"
    pair.call(hosts.uncordon_host, id="memory-2")
    pair.settle()
    assert (pair.vm("a").short_state, host_of(pair, "a")) == ("runn", "memory-2")


def test_a_host_can_be_removed_though_somebody_waits_for_room_that_could_be_there(pair):
    ask(pair, "x", 12)
    pair.settle()
    other = {"memory-1": "memory-2", "memory-2": "memory-1"}[host_of(pair, "x")]
    pair.call(hosts.cordon_host, id=other, data=AskOfHost())
    wait(pair, "a", 12)
    pair.settle()
    with pair.database.writing() as db:
        there = db.scalar(select(Host.id).where(Host.name == other))
        vm = db.scalars(select(Vm).where(Vm.name == "a")).one()
        vm.host_id = db.get_one(Disk, vm.boot_disk_id).host_id = there
    assert pair.call(hosts.get_host, id=other).remains == []
    pair.call(hosts.remove_host, id=other)
    end(pair, "x")
    assert (pair.vm("a").short_state, host_of(pair, "a")) == ("runn", pair.call(hosts.list_hosts).hosts[0].id)


def test_a_disk_that_it_is_to_have_waits_with_it_and_goes_where_it_goes(pair):
    pair.create_disk("data", 5)
    ask(pair, "x", 10)
    ask(pair, "y", 10)
    wait(pair, "a", 12, storage_disk_ids=["data"])
    pair.settle()
    assert pair.disk("data").vm_id == "a"
    there = host_of(pair, "y")
    end(pair, "y")
    assert (pair.vm("a").short_state, host_of(pair, "a")) == ("runn", there)
    assert pair.disk_row("data").host_id == pair.row("a").host_id


def test_its_time_may_be_over_while_it_waits(cloud):
    ask(cloud, "there", 12)
    wait(cloud, "a", 8, ttl="60s")
    cloud.settle()
    cloud.pass_time(61)
    assert states(cloud) == {"there": "runn"}


def test_who_waits_has_nothing_that_could_be_changed_yet(cloud):
    ask(cloud, "there", 12)
    wait(cloud, "a", 8)
    cloud.settle()
    with pytest.raises(Refused, match="has no room yet"):
        cloud.call(changes.resize_vm, project_id=PROJECT, id="a", memory_gib=4)
    with pytest.raises(Refused, match="has no room yet"):
        cloud.call(
            commitments.commit_vm,
            project_id=PROJECT,
            id="a",
            data=wire.CommitVm(commitment_term="COMMITMENT_TERM_1_MONTH"),
        )


def test_what_only_a_vm_with_room_can_have_is_refused_at_once_while_it_waits(cloud):
    cloud.create_disk("data", 1)
    ask(cloud, "there", 12)
    wait(cloud, "a", 8)
    with pytest.raises(Refused, match="PENDING") as refused:
        cloud.call(disks.attach_storage_disk, project_id=PROJECT, id="data", vm_id="a")
    assert not refused.value.passing


def test_a_create_that_waits_is_done_once_however_often_it_is_sent(cloud):
    with cloud.database.writing() as db:
        db.execute(update(ApiKey).values(digest=digest_of(API_KEY)))
    cloud.create(vm_id="there", memory_gib=12)
    sent = {"project_id": PROJECT, "data": vm_request(vm_id="a", memory_gib=8, queue=True)}
    send = asking(cloud, OPERATIONS["create_vm"], sent, "once")
    assert send() == send()
    assert list(states(cloud)) == ["a", "there"]


def test_of_those_who_race_with_others_that_go_each_gets_room_and_no_host_has_more_than_it_can(cloud):
    for number in range(4):
        ask(cloud, f"old-{number}", 4)
    cloud.settle()
    with ThreadPoolExecutor(8) as at_once:
        ending = [at_once.submit(cloud.ask, vms.terminate_vm, f"old-{number}") for number in range(4)]
        coming = [
            at_once.submit(cloud.create, vm_id=f"new-{number}", memory_gib=4, queue=True)
            for number in range(4)
        ]
        working = [at_once.submit(cloud.new_reconciler().run_due) for _ in range(8)]
    assert all(one.exception() is None for one in (*ending, *coming, *working))
    cloud.settle()
    cloud.pass_time(31)
    cloud.settle()
    assert states(cloud) == {f"new-{number}": "runn" for number in range(4)}
    with cloud.database.reading() as db:
        assert sum(db.scalars(select(Reservation.memory_mib))) == 16 * 1024


@pytest.mark.parametrize("seconds", [-1, 0, 86_401])
def test_a_deadline_is_in_the_future_and_no_more_than_a_day_away(cloud, seconds):
    with pytest.raises(
        Invalid, match=r"queueDeadline: .* expected a time in the future, at most 1 day from now"
    ):
        cloud.create(queue=True, queue_deadline=cloud.clock() + timedelta(seconds=seconds))


def test_what_does_not_go_with_waiting_is_refused(cloud):
    with pytest.raises(Invalid, match=r"queueDeadline: .* expected none without queue"):
        cloud.create(queue_deadline=cloud.clock() + timedelta(seconds=60))
    with pytest.raises(Invalid, match="queue: True is not accepted; expected no commitmentTerm beside it"):
        cloud.create(queue=True, commitment_term="COMMITMENT_TERM_1_MONTH")


def test_whoever_dies_while_room_is_given_goes_on(cloud):
    ask(cloud, "there", 12)
    wait(cloud, "a", 8)
    cloud.settle()
    cloud.ask(vms.terminate_vm, "there")
    for _ in range(5):
        cloud.reconciler = cloud.new_reconciler()
        cloud.run()
    cloud.settle()
    assert states(cloud) == {"a": "runn"}
    with cloud.database.reading() as db:
        assert len(db.scalars(select(Reservation)).all()) == 2
