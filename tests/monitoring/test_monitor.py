"""What VMs used: sampled on made-up hosts, kept for a month, shown as a series."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import delete, select
from tests.made_up import PROJECT, make_cloud, with_limits
from tests.projects.people import add_user

from cumulet.errors import NotFound
from cumulet.hypervisor import HypervisorError
from cumulet.monitoring import operations as monitoring
from cumulet.monitoring.model import Samples
from cumulet.monitoring.sample import EVERY, HUSH, MOST_SILENCES
from cumulet.monitoring.series import QUARTER, STEP, unpack
from cumulet.vm_record import Vm
from cumulet.vms import operations as verbs

HOUR = 3600


def items(cloud, id="hello", **query):
    return cloud.call(monitoring.monitor_vm, project_id=PROJECT, id=id, **query).items


def rows(cloud):
    with cloud.database.reading() as db:
        return db.scalars(select(Samples).order_by(Samples.begins)).all()


def kept(cloud):
    return [len(list(unpack(row.packed))) for row in rows(cloud)]


@pytest.fixture
def sampled(cloud):
    """A VM that runs, on a host whose samples are taken from now on."""
    cloud.running()
    cloud.measure()
    return cloud


def test_a_running_vm_has_an_item_for_each_half_minute(sampled):
    sampled.pass_time(10 * STEP)
    told = items(sampled)
    assert len(told) == 10
    first, second = told[:2]
    assert int(second.timestamp) - int(first.timestamp) == STEP
    assert first.cpu == 2.5  # the made-up guest: 1.5 s of two vCPUs
    assert (first.memory, first.guest_ping) == (str(2**30), "1")
    assert (first.disk_rd_bytes, first.disk_wr_bytes, first.net_rx, first.net_tx) == (
        "136",
        "273",
        "50",
        "100",
    )


def used(cloud):
    return {one.id: one.item for one in cloud.call(monitoring.list_vm_usage, project_id=PROJECT).vms}


def test_what_each_vm_used_last_is_the_last_item_of_each_over_quarters_and_nothing_of_those_that_are_off(
    sampled,
):
    assert used(sampled) == {}
    for _ in range(QUARTER // STEP + 2):
        sampled.pass_time(STEP)
        assert used(sampled) == {"hello": items(sampled)[-1]}
    sampled.ask(verbs.stop_vm)
    sampled.pass_time(3 * STEP)
    assert used(sampled) == {}


def test_the_contract_s_names_and_types(sampled):
    sampled.pass_time(STEP)
    (item,) = items(sampled)
    assert set(item.__struct_encode_fields__) == {
        "cpu", "diskRdBytes", "diskRdIops", "diskWrBytes", "diskWrIops", "memory", "netRx", "netTx", "timestamp",
        "guestPing",
    }  # fmt: skip
    texts = [getattr(item, name) for name in item.__struct_fields__ if name != "cpu"]
    assert all(isinstance(text, str) and text.isdecimal() for text in texts)


def test_a_vm_that_never_ran_has_none(cloud):
    cloud.create()
    assert items(cloud) == []


def test_while_it_is_off_there_are_none_and_it_goes_on_afterwards(sampled):
    sampled.pass_time(2 * STEP)
    sampled.ask(verbs.stop_vm)
    sampled.pass_time(HOUR)
    assert len(items(sampled)) == 2
    sampled.ask(verbs.start_vm)
    sampled.pass_time(4 * STEP)
    assert len(items(sampled)) == 5
    assert all(0 < item.cpu <= 100 for item in items(sampled))


def test_a_day_is_kept_in_full_and_a_month_by_quarters_of_an_hour(sampled):
    sampled.pass_time(HOUR - 2 * STEP)
    before = items(sampled)
    age(sampled, timedelta(days=1, minutes=30))
    sampled.pass_time(HOUR)
    assert kept(sampled)[:4] == [1, 1, 1, 1]
    assert set(kept(sampled)[5:7]) == {QUARTER // STEP}
    assert len(items(sampled)) == HOUR // STEP
    everything = items(sampled, since=datetime(2026, 1, 1, tzinfo=UTC))
    thinned = everything[: -len(items(sampled))]
    gaps = [int(after.timestamp) - int(one.timestamp) for one, after in pairwise(thinned)]
    assert len(gaps) == 2
    assert all(QUARTER - 2 * STEP <= gap <= QUARTER for gap in gaps)
    assert {item.cpu for item in thinned} == {item.cpu for item in before}


def test_what_is_older_than_a_month_goes(sampled):
    age(sampled, timedelta(days=2))
    sampled.measure()
    assert [row.thinned for row in rows(sampled)] == [True, False]
    age(sampled, timedelta(days=30))
    sampled.measure()
    assert len(rows(sampled)) == 2


def test_it_is_kept_for_as_many_days_as_the_operator_says(database, tmp_path):
    cloud = make_cloud(database, tmp_path, catalogue=with_limits(sample_days=3))
    cloud.running()
    for _ in range(3):
        cloud.measure()
        age(cloud, timedelta(days=2))
    assert len(rows(cloud)) == 2


def age(cloud, span):
    """Let time pass in which no server ran."""
    cloud.clock.now += span


def test_it_goes_with_its_vm(sampled):
    sampled.pass_time(HOUR)
    assert rows(sampled)
    sampled.ask(verbs.terminate_vm)
    sampled.settle()
    assert rows(sampled) == []


def test_since_looks_back_as_far_as_it_says(sampled):
    sampled.pass_time(HOUR)
    since = sampled.clock() - timedelta(minutes=5)
    told = items(sampled, since=since)
    assert len(told) == 10
    assert int(told[0].timestamp) >= int(since.timestamp())
    assert items(sampled, since=since.replace(tzinfo=None)) == told


def test_a_host_is_asked_once_for_all_its_machines_and_written_once(sampled, monkeypatch):
    for number in range(4):
        sampled.running(vm_id=f"vm-{number}")
    asked, commits = [], []
    stats, writing = sampled.host.machines.stats, sampled.database.writing
    monkeypatch.setattr(sampled.host.machines, "stats", lambda: asked.append(1) or stats())
    monkeypatch.setattr(type(sampled.database), "writing", lambda _: commits.append(1) or writing())
    sampled.pass_time(STEP)
    assert len(asked) == 1
    assert len(commits) <= 6  # the claims of its run and their release included


def test_a_host_that_does_not_answer_leaves_a_gap_and_no_failure(sampled):
    sampled.pass_time(2 * STEP)
    sampled.host.unreachable = True
    sampled.pass_time(4 * STEP)
    sampled.host.unreachable = False
    sampled.pass_time(3 * STEP)
    assert 4 <= len(items(sampled)) <= 5
    assert sampled.due("samples", sampled.host_id).attempts == 0


def test_another_server_goes_on_without_a_gap(sampled):
    sampled.pass_time(2 * STEP)
    sampled.reconciler = sampled.new_reconciler()
    sampled.pass_time(2 * STEP)
    assert len(items(sampled)) == 4


def test_a_vm_that_goes_while_it_is_measured_costs_nobody_his_sample(sampled, monkeypatch):
    sampled.running(vm_id="other")
    ping = sampled.host.guests.ping

    others = sampled.row("other").id

    def remove_and_ping(vm_id):
        with sampled.database.writing() as db:
            db.execute(delete(Vm).where(Vm.id == others))
        return ping(vm_id)

    monkeypatch.setattr(sampled.host.guests, "ping", remove_and_ping)
    before = sum(kept(sampled))
    sampled.measure()
    assert sampled.due("samples", sampled.host_id).attempts == 0
    assert others not in {row.vm_id for row in rows(sampled)}
    assert sum(kept(sampled)) >= before


def test_a_silent_guest_is_told_and_not_asked_again_for_a_while(sampled, monkeypatch):
    pings = []
    monkeypatch.setattr(sampled.host.guests, "ping", pings.append)
    sampled.pass_time(4 * STEP)
    assert len(pings) == 1
    assert items(sampled)[-1].guest_ping == "0"
    sampled.pass_time(HUSH.total_seconds())
    assert len(pings) == 2


def test_many_silent_guests_do_not_hold_up_a_host(sampled, monkeypatch):
    for number in range(MOST_SILENCES + 2):
        sampled.running(vm_id=f"vm-{number}", vcpus=1, memory_gib=1)
    pings = []
    monkeypatch.setattr(sampled.host.guests, "ping", pings.append)
    sampled.pass_time(EVERY.total_seconds())
    assert len(pings) == MOST_SILENCES
    sampled.pass_time(EVERY.total_seconds())
    assert len(set(pings)) == MOST_SILENCES + 3


def test_a_guest_that_cannot_be_asked_costs_the_others_nothing(sampled, monkeypatch):
    def fail(_):
        raise HypervisorError("no")

    monkeypatch.setattr(sampled.host.guests, "ping", fail)
    sampled.pass_time(2 * STEP)
    assert [item.guest_ping for item in items(sampled)] == ["0", "0"]


def test_a_guest_without_an_agent_is_not_asked(cloud, monkeypatch):
    cloud.host.mute = True
    cloud.running()
    monkeypatch.setattr(cloud.host.guests, "ping", lambda _: pytest.fail("nobody is there"))
    cloud.measure()
    cloud.pass_time(2 * STEP)
    assert items(cloud)[-1].guest_ping == "0"


def test_strangers_see_nothing(sampled):
    with sampled.database.writing() as db:
        stranger = add_user(db, "stranger")
    with pytest.raises(NotFound, match="'default'"):
        items(sampled, caller=stranger)
    with pytest.raises(NotFound, match="'nobody'"):
        items(sampled, "nobody")
