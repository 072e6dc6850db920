"""Rows that are older than the hosts, as after a restore of the database: what machines run with is given to nobody."""

from dataclasses import replace

import pytest
from sqlalchemy import update
from tests.gpus.clouds import look_later, rows, told
from tests.made_up import make_cloud

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.gpus import Gpu, GpuState, note_gpus
from cumulet.hypervisor.memory import made_up_id
from cumulet.vms import operations as verbs


@pytest.fixture
def cloud(database, tmp_path):
    offered = with_gpus(read_catalogue(None), "H100", made_up_id("H100"))
    plain, of_gpus = offered.machine_types
    of_gpus = replace(of_gpus, max_vcpu_per_gpu=32.0)
    catalogue = replace(offered, machine_types=(plain, of_gpus))
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?gpus=1&gpu_model=H100", catalogue=catalogue)
    cloud.sweep()
    cloud.running(machine_type=of_gpus.id, gpus=1)
    assert rows(cloud)[0].vm_id == cloud.row().id
    return cloud


def restore(cloud, **values):
    """Let the row be as an earlier copy of the database had it."""
    cloud.clock.advance(30)
    with cloud.database.writing() as db:
        db.execute(update(Gpu).values(**values))


def test_one_that_a_machine_runs_with_is_not_free_whatever_its_row_says_and_is_cleaned_when_that_ends(cloud):
    restore(cloud, state=GpuState.FREE, vm_id=None)
    look_later(cloud)
    row = rows(cloud)[0]
    assert row.state is GpuState.CLEANING
    assert "is still open" in cloud.due("gpu", row.id).why
    assert cloud.host.contents.used_gpus == {row.address: cloud.row().id}
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    assert rows(cloud)[0].state is GpuState.FREE
    assert not cloud.host.contents.used_gpus


def test_one_that_another_s_machine_runs_with_is_not_as_new_for_whoever_holds_it(cloud):
    cloud.create(vm_id="other", memory_gib=1)
    other = cloud.row("other").id
    restore(cloud, vm_id=other)
    look_later(cloud)
    row = rows(cloud)[0]
    assert (row.state, row.vm_id, row.problem) == (
        GpuState.HELD,
        other,
        "the machine of another VM ran with it",
    )
    assert told(cloud)[-1][0] == "gpu.faulted"


def test_a_machine_of_before_that_is_gone_by_now_is_no_stranger(cloud):
    cloud.create(vm_id="other", memory_gib=1)
    other = cloud.row("other").id
    restore(cloud, vm_id=other, cleaned_at=cloud.clock())
    row = rows(cloud)[0]
    with cloud.database.writing() as db:
        users = {row.address: cloud.row().id}
        note_gpus(db, cloud.host_id, cloud.host.host_gpus, users, now=row.cleaned_at)
    assert rows(cloud)[0].problem == ""
