"""A VM whose GPU fails or goes: it is not started with another in its place, nor with one that is not well."""

from dataclasses import replace

import pytest
from tests.gpus.clouds import look_later, refit, take_out
from tests.made_up import make_cloud
from tests.vms.test_gpus import MODEL, TYPE, catalogue

from cumulet.hypervisor import GpuMissing, GpuUnclean, Power
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs


@pytest.fixture
def cloud(database, tmp_path):
    """A cloud of a host with two GPUs, of which a VM that runs has the first."""
    uri = f"memory:?gpus=2&gpu_model={MODEL}"
    cloud = make_cloud(database, tmp_path, hypervisor=uri, catalogue=catalogue())
    cloud.sweep()
    cloud.running(machine_type=TYPE, gpus=1)
    return cloud


def stop(cloud):
    cloud.ask(verbs.stop_vm)
    cloud.settle()


def start(cloud):
    cloud.ask(verbs.start_vm)
    cloud.pass_time(5)
    return cloud.host.machines.get(cloud.row().id).power


def test_its_owner_is_told_what_may_have_stopped_it(cloud):
    cloud.host.fault(cloud.row().id)
    cloud.sweep()
    cloud.settle()
    assert cloud.ask(verbs.get_vm_timeline).entries[-1].text.startswith("a GPU of it reported errors, or ")
    stop(cloud)
    assert start(cloud) is Power.RUNNING


def test_without_its_gpu_it_does_not_start_and_says_so_without_its_host_s_addresses(cloud):
    stop(cloud)
    card = cloud.host.host_gpus
    take_out(cloud)
    look_later(cloud)
    assert start(cloud) is Power.OFF
    cloud.pass_time(60)
    assert (cloud.vm().state, cloud.vm().problem) == (VmState.FAILED, GpuMissing.for_owner)
    cloud.host.host_gpus = card
    look_later(cloud)
    cloud.pass_time(60)
    assert cloud.vm().state is VmState.ACTIVE


def test_a_gpu_that_has_gone_since_the_last_look_is_missed_too(cloud):
    stop(cloud)
    take_out(cloud)
    assert start(cloud) is Power.OFF
    assert cloud.vm().problem == GpuMissing.for_owner


def test_it_is_not_started_with_another_card_in_the_place_of_its_own(cloud):
    stop(cloud)
    (function,) = cloud.host.host_gpus.gpus[0].functions
    refit(cloud, functions=(replace(function, pci_id="10de:2684"),))
    look_later(cloud)
    assert start(cloud) is Power.OFF
    assert cloud.vm().problem == GpuMissing.for_owner


def test_after_a_fault_its_gpu_is_made_as_new_before_it_starts(cloud):
    refit(cloud, answers=False)
    look_later(cloud)
    refit(cloud, answers=True)
    stop(cloud)
    cloud.host.sick_gpus[cloud.host.host_gpus.gpus[0].address] = "its link has fewer lanes than before"
    assert start(cloud) is Power.OFF
    assert cloud.vm().problem == GpuUnclean.for_owner
    cloud.host.sick_gpus.clear()
    cloud.settle()
    assert cloud.vm().state is VmState.ACTIVE
