"""A GPU from the moment it is given back until the next VM can have it, on both kinds of database."""

import pytest
from tests.gpus.clouds import URI, given_back, held, look_later, refit, rows, take_out, told
from tests.made_up import make_cloud

from cumulet.gpus import GpuState, give_back, note_gpus
from cumulet.hypervisor import GpuInUse
from cumulet.hypervisor.memory.gpus import MemoryGpus
from cumulet.journal import Event
from cumulet.reconcile import Due


@pytest.fixture
def cloud(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor=URI)
    cloud.sweep()
    return cloud


@pytest.fixture
def first(cloud):
    """The address of the first GPU."""
    return cloud.host.host_gpus.gpus[0].address


def due_of(cloud, row):
    return cloud.due("gpu", row.id)


def test_one_that_is_given_back_is_cleaned_before_it_is_free(cloud, first):
    vm_id = held(cloud)
    cloud.host.contents.used_gpus[first] = vm_id
    assert (rows(cloud)[0].state, rows(cloud)[0].vm_id) == (GpuState.HELD, vm_id)
    cloud.clock.advance(60)
    given_back(cloud, vm_id)
    row = rows(cloud)[0]
    assert (row.state, row.vm_id, row.cleaned_at, row.since) == (GpuState.FREE, None, *[cloud.clock.now] * 2)
    assert not cloud.host.contents.used_gpus
    assert [name for name, _ in told(cloud)][-3:] == ["gpu.held", "gpu.returned", "gpu.cleaned"]


def test_what_is_told_of_one_that_is_held_names_its_vm(cloud):
    held(cloud)
    with cloud.database.reading() as db:
        event = db.query(Event).where(Event.event == "gpu.held").one()
    assert (event.data["project_id"], event.data["vm_id"], event.data["state"]) == (
        "default",
        "hello",
        "HELD",
    )


def test_one_that_is_in_use_waits_and_says_why(cloud, first, monkeypatch):
    vm_id, clean = held(cloud), MemoryGpus.clean

    def refuse(_self, address):
        raise GpuInUse(f"GPU {address} is still open")

    monkeypatch.setattr(MemoryGpus, "clean", refuse)
    given_back(cloud, vm_id)
    assert (rows(cloud)[0].state, rows(cloud)[0].failures) == (GpuState.CLEANING, 0)
    assert due_of(cloud, rows(cloud)[0]).why == f"GPU {first} is still open"
    monkeypatch.setattr(MemoryGpus, "clean", clean)
    cloud.pass_time(30)
    assert rows(cloud)[0].state is GpuState.FREE


def test_one_that_cannot_be_cleaned_three_times_is_quarantined_with_the_reason(cloud, first):
    vm_id = held(cloud)
    cloud.host.sick_gpus[first] = "GPU does not come back from its reset"
    given_back(cloud, vm_id)
    assert (rows(cloud)[0].state, rows(cloud)[0].failures) == (GpuState.CLEANING, 1)
    assert "does not come back" in due_of(cloud, rows(cloud)[0]).why
    cloud.pass_time(120)
    row = rows(cloud)[0]
    assert (row.state, row.failures) == (GpuState.QUARANTINED, 3)
    assert row.problem == "GPU does not come back from its reset"
    assert due_of(cloud, row) is None
    words = "is QUARANTINED: it could not be cleaned 3 times: GPU does not come back from its reset"
    assert told(cloud)[-1] == (
        "gpu.quarantined",
        f"GPU {row.seen.pci_id} at {first} of host memory-1 {words}",
    )
    del cloud.host.sick_gpus[first]
    look_later(cloud)
    assert rows(cloud)[0].state is GpuState.QUARANTINED


def test_one_that_succeeds_after_a_failure_has_none_left(cloud, first):
    vm_id = held(cloud)
    cloud.host.sick_gpus[first] = "it coughs"
    given_back(cloud, vm_id)
    del cloud.host.sick_gpus[first]
    cloud.pass_time(60)
    assert (rows(cloud)[0].state, rows(cloud)[0].failures) == (GpuState.FREE, 0)


def test_a_host_that_does_not_answer_is_waited_for(cloud):
    vm_id = held(cloud)
    cloud.host.unreachable = True
    given_back(cloud, vm_id)
    assert (rows(cloud)[0].state, rows(cloud)[0].failures) == (GpuState.CLEANING, 0)
    assert "does not answer" in due_of(cloud, rows(cloud)[0]).error
    cloud.host.unreachable = False
    cloud.pass_time(120)
    assert rows(cloud)[0].state is GpuState.FREE


def test_one_that_becomes_fit_must_show_first_that_it_can_be_cleaned(cloud, first):
    refit(cloud, boot_display=True)
    look_later(cloud)
    cloud.host.sick_gpus[first] = "nothing resets it"
    refit(cloud, boot_display=False)
    look_later(cloud)
    assert rows(cloud)[0].state is GpuState.CLEANING
    cloud.pass_time(120)
    assert rows(cloud)[0].state is GpuState.QUARANTINED


def test_what_changed_while_it_was_cleaned_is_not_overwritten(cloud, first, monkeypatch):
    vm_id, clean = held(cloud), MemoryGpus.clean

    def clean_while_it_is_taken_out(self, address):
        clean(self, address)
        if cloud.host.host_gpus.gpus[0].address == first:
            take_out(cloud)
            with cloud.database.writing() as db:
                note_gpus(db, cloud.host_id, cloud.host.host_gpus, {}, now=cloud.clock())

    monkeypatch.setattr(MemoryGpus, "clean", clean_while_it_is_taken_out)
    given_back(cloud, vm_id)
    assert rows(cloud)[0].state is GpuState.ABSENT


def test_one_that_waits_to_be_cleaned_and_is_woken_by_nobody_is_found_by_the_sweep(cloud):
    vm_id = held(cloud)
    with cloud.database.writing() as db:
        give_back(db, vm_id, now=cloud.clock())
        db.query(Due).where(Due.kind == "gpu").delete()
    cloud.run()
    assert rows(cloud)[0].state is GpuState.CLEANING
    look_later(cloud)
    assert rows(cloud)[0].state is GpuState.FREE
