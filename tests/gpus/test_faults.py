"""What befalls GPUs that VMs hold, and free ones: told once to those concerned, and no further VM gets them."""

import pytest
from tests.gpus.clouds import URI, given_back, held, look_later, refit, rows, take_out, told
from tests.made_up import make_cloud

from cumulet.gpus import GpuState
from cumulet.gpus import operations as verbs


@pytest.fixture
def cloud(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor=URI)
    cloud.sweep()
    return cloud


@pytest.fixture
def vm_id(cloud):
    """A VM that holds the two GPUs there are."""
    return held(cloud, 2)


def named(told, *names):
    return [(name, text) for name, text in told if name in names]


FAULTS = [
    ({"answers": False}, "it does not answer on the bus any more"),
    ({"errors": 3}, "it reported 3 PCIe errors that nothing mended"),
]


@pytest.mark.parametrize(("changes", "words"), FAULTS)
def test_a_fault_of_one_that_a_vm_holds_is_told_once_to_its_owner_and_the_operator(
    cloud, vm_id, changes, words
):
    refit(cloud, **changes)
    for _ in range(2):
        look_later(cloud)
    row = rows(cloud)[0]
    assert (row.state, row.vm_id, row.problem) == (GpuState.HELD, vm_id, words)
    assert named(told(cloud, "vm"), "vm.gpu_fault") == [("vm.gpu_fault", f"GPU 1 of 2 failed: {words}")]
    ((_, text),) = named(told(cloud), "gpu.faulted")
    assert f"is HELD: {words}" in text
    assert rows(cloud)[1].problem == ""


@pytest.mark.parametrize(("changes", "words"), FAULTS)
def test_one_that_failed_is_quarantined_when_it_is_given_back_until_its_operator_has_it_cleaned(
    cloud, vm_id, changes, words
):
    was = {name: getattr(cloud.host.host_gpus.gpus[0], name) for name in changes}
    refit(cloud, **changes)
    look_later(cloud)
    given_back(cloud, vm_id)
    assert [row.state for row in rows(cloud)] == [GpuState.QUARANTINED, GpuState.FREE]
    refit(cloud, **was)
    look_later(cloud)
    assert (rows(cloud)[0].state, rows(cloud)[0].problem) == (GpuState.QUARANTINED, words)
    cloud.call(verbs.clean_gpu, id=f"memory-1:{rows(cloud)[0].address}")
    cloud.run()
    assert (rows(cloud)[0].state, rows(cloud)[0].problem) == (GpuState.FREE, "")


@pytest.mark.parametrize(("changes", "words"), FAULTS)
def test_a_free_one_that_fails_is_quarantined_at_once(cloud, changes, words):
    refit(cloud, **changes)
    look_later(cloud)
    assert (rows(cloud)[0].state, rows(cloud)[0].problem) == (GpuState.QUARANTINED, words)
    assert named(told(cloud), "gpu.faulted")[0][1].endswith(f"is QUARANTINED: {words}{silence(changes)}")


def silence(changes):
    """What the bus shows of it besides."""
    return "; it does not answer on the bus" if "answers" in changes else ""


def test_counters_that_begin_anew_or_stand_are_no_news(cloud, vm_id):
    refit(cloud, errors=3)
    look_later(cloud)
    news = len(told(cloud))
    for errors in (0, 0):
        refit(cloud, errors=errors)
        look_later(cloud)
    assert (rows(cloud)[0].seen.errors, len(told(cloud))) == (0, news)


def test_one_that_a_vm_holds_and_that_stops_being_fit_stays_its_own_and_the_operator_is_told(cloud, vm_id):
    refit(cloud, boot_display=True)
    look_later(cloud)
    row = rows(cloud)[0]
    assert (row.state, row.vm_id, row.problem) == (GpuState.HELD, vm_id, "")
    assert told(cloud)[-1][0] == "gpu.changed"
    assert told(cloud)[-1][1].endswith("is HELD: the host's own screen is on it")
    given_back(cloud, vm_id)
    assert rows(cloud)[0].state is GpuState.UNFIT


def test_one_that_leaves_the_bus_stays_its_vm_s_and_is_told_once_and_when_it_is_back(cloud, vm_id):
    there = cloud.host.host_gpus
    take_out(cloud)
    for _ in range(2):
        look_later(cloud)
    assert (rows(cloud)[0].state, rows(cloud)[0].vm_id) == (GpuState.ABSENT, vm_id)
    assert named(told(cloud, "vm"), "vm.gpu_fault") == [
        ("vm.gpu_fault", "GPU 1 of 2 is not in its host any more")
    ]
    assert told(cloud)[-1][0] == "gpu.absent"
    cloud.host.host_gpus = there
    look_later(cloud)
    assert (rows(cloud)[0].state, rows(cloud)[0].vm_id) == (GpuState.HELD, vm_id)
    assert told(cloud, "vm")[-1] == ("vm.gpu_back", "GPU 1 of 2 is in its host again")


def test_one_that_is_given_back_while_it_is_away_is_cleaned_when_it_is_back(cloud, vm_id):
    there = cloud.host.host_gpus
    take_out(cloud)
    look_later(cloud)
    given_back(cloud, vm_id)
    assert (rows(cloud)[0].state, rows(cloud)[0].vm_id) == (GpuState.ABSENT, None)
    cloud.host.contents.used_gpus[there.gpus[0].address] = vm_id
    cloud.host.host_gpus = there
    look_later(cloud)
    assert rows(cloud)[0].state is GpuState.FREE
    assert not cloud.host.contents.used_gpus


def test_one_that_failed_and_left_the_bus_is_quarantined_when_it_is_back(cloud):
    there = cloud.host.host_gpus
    refit(cloud, errors=1)
    look_later(cloud)
    take_out(cloud)
    look_later(cloud)
    assert rows(cloud)[0].state is GpuState.ABSENT
    cloud.host.host_gpus = there
    look_later(cloud)
    assert rows(cloud)[0].state is GpuState.QUARANTINED


def test_another_card_in_the_place_of_one_that_a_vm_holds_is_not_its_own(cloud, vm_id):
    was = cloud.host.host_gpus.gpus[0]
    refit(cloud, subsystem_id="10de:0001")
    look_later(cloud)
    row = rows(cloud)[0]
    assert (row.state, row.vm_id, row.seen) == (GpuState.ABSENT, vm_id, was)
    assert row.unfit_because[0].problem == f"another card, {was.pci_id}, is in its place"
    assert named(told(cloud, "vm"), "vm.gpu_fault")
    assert told(cloud)[-1][0] == "gpu.absent"
    given_back(cloud, vm_id)
    look_later(cloud)
    row = rows(cloud)[0]
    assert (row.state, row.seen.subsystem_id) == (GpuState.FREE, "10de:0001")


def test_another_card_in_the_place_of_one_that_failed_is_given_its_own_chance(cloud):
    refit(cloud, errors=1)
    look_later(cloud)
    refit(cloud, errors=0, subsystem_id="10de:0001")
    look_later(cloud)
    assert (rows(cloud)[0].state, rows(cloud)[0].problem) == (GpuState.FREE, "")


def test_one_that_is_away_for_long_and_whose_no_vm_is_is_forgotten(cloud, vm_id):
    take_out(cloud)
    look_later(cloud)
    cloud.clock.advance(31 * 86400)
    cloud.sweep()
    assert len(rows(cloud)) == 2
    given_back(cloud, vm_id)
    look_later(cloud)
    assert len(rows(cloud)) == 2
    cloud.clock.advance(31 * 86400)
    cloud.sweep()
    assert len(rows(cloud)) == 1
    assert told(cloud)[-1][0] == "gpu.forgotten"
