"""Rows of GPUs follow what the looks at hosts find, and the journal tells of it; on both kinds of database."""

from dataclasses import replace

import pytest
from sqlalchemy import event, select
from tests.made_up import NOON, make_cloud

from cumulet.gpus import Gpu, GpuState
from cumulet.hypervisor import Iommu
from cumulet.journal import Event

URI = "memory:?gpus=2&gpu_model=H100"


@pytest.fixture
def cloud(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor=URI)
    cloud.sweep()
    return cloud


def rows(cloud):
    with cloud.database.reading() as db:
        return db.scalars(select(Gpu).order_by(Gpu.address)).all()


def told(cloud):
    with cloud.database.reading() as db:
        found = db.scalars(select(Event).where(Event.subject == "gpu").order_by(Event.id))
        return [(event.event, event.text) for event in found]


def refit(cloud, **changes):
    """Let the first card be otherwise."""
    first, *others = cloud.host.host_gpus.gpus
    cloud.host.host_gpus = replace(cloud.host.host_gpus, gpus=(replace(first, **changes), *others))


def look_later(cloud):
    cloud.clock.advance(30)
    cloud.sweep()


def test_what_a_host_has_gets_rows_and_is_told_once(cloud):
    for _ in range(2):
        look_later(cloud)
    first, second = cloud.host.host_gpus.gpus
    assert [row.seen for row in rows(cloud)] == [first, second]
    assert [(row.state, row.since, row.causes) for row in rows(cloud)] == [(GpuState.FREE, NOON, [])] * 2
    words = f"GPU {first.pci_id} at {first.address} of host memory-1 is FREE"
    assert told(cloud)[0] == ("gpu.appeared", words)
    assert len(told(cloud)) == 2


def test_a_look_at_gpus_that_are_as_they_were_is_one_statement(cloud):
    statements = []

    def note(_connection, _cursor, statement, *_):
        if "gpu." in statement:
            statements.append(statement)

    event.listen(cloud.database.engine, "before_cursor_execute", note)
    look_later(cloud)
    assert len(statements) == 1


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
    cloud.host.host_gpus = replace(there, gpus=there.gpus[1:])
    for _ in range(2):
        look_later(cloud)
    gone, other = rows(cloud)
    assert (gone.state, other.state) == (GpuState.ABSENT, GpuState.FREE)
    assert gone.seen == there.gpus[0]
    assert [name for name, _ in told(cloud)] == ["gpu.appeared"] * 2 + ["gpu.absent"]
    cloud.host.host_gpus = there
    look_later(cloud)
    assert (rows(cloud)[0].state, rows(cloud)[0].since) == (GpuState.FREE, cloud.clock.now)
    assert told(cloud)[-1][0] == "gpu.appeared"


def test_one_that_is_gone_and_was_unfit_has_no_reason_left(cloud):
    refit(cloud, answers=False)
    look_later(cloud)
    cloud.host.host_gpus = replace(cloud.host.host_gpus, gpus=cloud.host.host_gpus.gpus[1:])
    look_later(cloud)
    assert (rows(cloud)[0].state, rows(cloud)[0].causes) == (GpuState.ABSENT, [])


def test_a_host_that_does_not_answer_keeps_what_was_last_seen(cloud):
    cloud.host.unreachable = True
    look_later(cloud)
    assert [row.state for row in rows(cloud)] == [GpuState.FREE] * 2
    assert len(told(cloud)) == 2


def test_what_is_told_carries_data_for_programs(cloud):
    refit(cloud, answers=False)
    look_later(cloud)
    with cloud.database.reading() as db:
        newest = db.scalars(select(Event).where(Event.subject == "gpu").order_by(Event.id.desc())).first()
    card = cloud.host.host_gpus.gpus[0]
    assert newest.data == {
        "host": "memory-1",
        "address": card.address,
        "pci_id": card.pci_id,
        "state": "UNFIT",
        "problems": ["it does not answer on the bus"],
    }
