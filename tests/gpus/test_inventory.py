"""Rows of GPUs follow what the looks at hosts find, and the journal tells of it; on both kinds of database."""

from dataclasses import replace

import pytest
from sqlalchemy import select
from tests.gpus.clouds import URI, look_later, refit, rows, take_out, told
from tests.made_up import NOON, make_cloud
from tests.watching import statements_of

from cumulet.gpus import GpuState
from cumulet.hypervisor import Iommu
from cumulet.journal import Event


@pytest.fixture
def cloud(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor=URI)
    cloud.sweep()
    return cloud


def names(cloud):
    return [name for name, _ in told(cloud)]


def test_what_a_host_has_gets_rows_and_is_told_once(cloud):
    for _ in range(2):
        look_later(cloud)
    first, second = cloud.host.host_gpus.gpus
    assert [row.seen for row in rows(cloud)] == [first, second]
    assert [(row.state, row.since, row.causes) for row in rows(cloud)] == [(GpuState.FREE, NOON, [])] * 2
    where = f"GPU {first.pci_id} at {first.address} of host memory-1"
    assert told(cloud)[0] == ("gpu.appeared", f"{where} is CLEANING")
    assert ("gpu.cleaned", f"{where} is clean and FREE") in told(cloud)
    assert sorted(names(cloud)) == ["gpu.appeared"] * 2 + ["gpu.cleaned"] * 2


def test_a_look_at_gpus_that_are_as_they_were_is_one_statement(cloud):
    with statements_of(cloud.database) as statements:
        look_later(cloud)
    assert sum("gpu." in statement for statement in statements) == 1


def test_one_that_stops_being_fit_is_told_with_the_reason_and_so_is_the_way_back(cloud):
    was = cloud.host.host_gpus.gpus[0]
    refit(cloud, boot_display=True)
    look_later(cloud)
    row = rows(cloud)[0]
    assert (row.state, row.since) == (GpuState.UNFIT, cloud.clock.now)
    assert "first display" in row.unfit_because[0].cure
    name, words = told(cloud)[-1]
    assert name == "gpu.changed"
    assert words.startswith(f"GPU {was.pci_id} at {was.address} of host memory-1 has other boot_display, and")
    assert words.endswith("is UNFIT: the host's own screen is on it")
    refit(cloud, boot_display=False)
    look_later(cloud)
    row = rows(cloud)[0]
    assert (row.state, row.causes, row.since) == (GpuState.FREE, [], cloud.clock.now)


def test_what_changes_of_one_without_its_state_leaves_the_time_of_that(cloud):
    refit(cloud, numa_node=1)
    look_later(cloud)
    row = rows(cloud)[0]
    assert (row.seen.numa_node, row.since) == (1, NOON)
    assert told(cloud)[-1][1].endswith("has other numa_node, and is FREE")


def test_what_the_host_lacks_makes_all_its_gpus_unfit(cloud):
    cloud.host.host_gpus = replace(cloud.host.host_gpus, iommu=Iommu.NO_REMAPPING)
    look_later(cloud)
    assert [row.state for row in rows(cloud)] == [GpuState.UNFIT] * 2
    assert told(cloud)[-1][1].endswith("could raise any of them")


def test_one_that_is_gone_stays_as_absent_and_is_told_once_and_when_it_is_back(cloud):
    there = cloud.host.host_gpus
    take_out(cloud)
    for _ in range(2):
        look_later(cloud)
    gone, other = rows(cloud)
    assert (gone.state, other.state) == (GpuState.ABSENT, GpuState.FREE)
    assert gone.seen == there.gpus[0]
    assert names(cloud)[4:] == ["gpu.absent"]
    assert told(cloud)[-1][1].endswith("is not on the bus any more")
    cloud.host.host_gpus = there
    look_later(cloud)
    assert (rows(cloud)[0].state, rows(cloud)[0].since) == (GpuState.FREE, cloud.clock.now)
    assert names(cloud)[5:] == ["gpu.appeared", "gpu.cleaned"]


def test_one_that_is_gone_and_was_unfit_has_no_reason_left(cloud):
    refit(cloud, boot_display=True)
    look_later(cloud)
    take_out(cloud)
    look_later(cloud)
    assert (rows(cloud)[0].state, rows(cloud)[0].causes) == (GpuState.ABSENT, [])


def test_a_host_that_does_not_answer_keeps_what_was_last_seen(cloud):
    cloud.host.unreachable = True
    look_later(cloud)
    assert [row.state for row in rows(cloud)] == [GpuState.FREE] * 2
    assert len(told(cloud)) == 4


def test_what_is_told_carries_data_for_programs(cloud):
    refit(cloud, boot_display=True)
    look_later(cloud)
    with cloud.database.reading() as db:
        newest = db.scalars(select(Event).where(Event.subject == "gpu").order_by(Event.id.desc())).first()
    card = cloud.host.host_gpus.gpus[0]
    assert newest.data == {
        "host": "memory-1",
        "address": card.address,
        "pci_id": card.pci_id,
        "state": "UNFIT",
        "problems": ["the host's own screen is on it"],
    }
