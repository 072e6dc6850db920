"""What a guest found of a GPU: judged, kept with the GPU's row, and what becomes of the GPU by it."""

from dataclasses import replace

import pytest
from tests.gpus.clouds import URI, held, rows, told
from tests.made_up import make_cloud

from cumulet.errors import Refused
from cumulet.gpus import GpuState
from cumulet.gpus import operations as verbs
from cumulet.gpus.proof import judge
from cumulet.hypervisor import HypervisorError, PciFunction, Proof, SeenDma, SeenFunction
from cumulet.hypervisor.libvirt.proof import SECONDS
from cumulet.hypervisor.memory.gpus import MemoryGpus, made_up_gpus
from cumulet.reconcile import LEASE

ONE = made_up_gpus("H100", 1).gpus[0]
CARD = replace(ONE, functions=(*ONE.functions, PciFunction("0000:03:00.1", "10de:22ba", "0403", "vfio-pci")))
SEEN = tuple(SeenFunction(one.pci_id, (0xFE00000C, 0x38), masters_bus=True) for one in CARD.functions)


@pytest.mark.parametrize(
    ("proof", "problem"),
    [
        (Proof(SEEN, None), ""),
        (Proof(SEEN, SeenDma(inside=True, outside=0)), ""),
        (Proof(SEEN[:1], None), "its guest found 1 of its 2 functions"),
        (
            Proof((replace(SEEN[0], pci_id="ffff:ffff", masters_bus=False), SEEN[1]), None),
            f"its guest found ffff:ffff instead of {CARD.pci_id} ({CARD.address})",
        ),
        (
            Proof((SEEN[0], replace(SEEN[1], masters_bus=False)), None),
            "its guest could not let 0000:03:00.1 reach memory",
        ),
        (
            Proof((replace(SEEN[0], bars=(0xC, 0)), SEEN[1]), None),
            "its guest's firmware found no room for its memory",
        ),
        (Proof(SEEN, SeenDma(inside=False, outside=0)), "it did not reach its guest's memory"),
        (Proof(SEEN, SeenDma(inside=True, outside=0x53FF)), "it read memory outside of its guest's"),
    ],
)
def test_a_guest_must_find_the_whole_card_use_it_and_be_kept_in_its_memory(proof, problem):
    assert judge(CARD, proof).problem == problem


@pytest.fixture
def cloud(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor=URI)
    cloud.sweep()
    return cloud


@pytest.fixture
def first(cloud):
    """The id of the first GPU."""
    return cloud.call(verbs.list_gpus).gpus[0].id


def shown(cloud, id):
    return cloud.call(verbs.get_gpu, id=id).gpu


def test_one_that_a_guest_finds_as_it_should_be_is_free_again_and_tells_what_was_found(cloud, first):
    assert (shown(cloud, first).proof, shown(cloud, first).proved_time) == (None, None)
    cloud.call(verbs.prove_gpu, id=first)
    assert shown(cloud, first).state is GpuState.CLEANING
    cloud.settle()
    gpu = shown(cloud, first)
    assert (gpu.state, gpu.proved_time, gpu.cleaned_time) == (GpuState.FREE, *[cloud.clock.now] * 2)
    assert (gpu.proof.problem, gpu.proof.dma_inside, gpu.proof.dma_outside) == ("", None, None)
    (function,) = gpu.proof.functions
    assert (function.address, function.pci_id, function.masters_bus) == (gpu.address, gpu.pci_id, True)
    assert len(function.bars) == 3
    assert [name for name, _ in told(cloud)][-3:] == ["gpu.proof_requested", "gpu.proved", "gpu.cleaned"]


def test_one_that_a_guest_does_not_find_as_it_should_be_is_quarantined_until_that_is_mended(cloud, first):
    address = cloud.host.host_gpus.gpus[0].address
    cloud.host.halved_gpus.add(address)
    cloud.call(verbs.prove_gpu, id=first)
    cloud.settle()
    gpu = shown(cloud, first)
    assert gpu.state is GpuState.QUARANTINED
    assert "could not let" in gpu.proof.problem
    assert gpu.problems[0].problem == gpu.proof.problem
    cloud.host.halved_gpus.clear()
    cloud.call(verbs.prove_gpu, id=first)
    cloud.settle()
    assert (shown(cloud, first).state, shown(cloud, first).proof.problem) == (GpuState.FREE, "")


def test_a_guest_that_does_not_come_to_its_end_is_told_and_costs_the_gpu_nothing(cloud, first, monkeypatch):
    def fail(_self, _address):
        raise HypervisorError("the host has no GRUB")

    monkeypatch.setattr(MemoryGpus, "prove", fail)
    cloud.call(verbs.prove_gpu, id=first)
    cloud.settle()
    gpu = shown(cloud, first)
    assert (gpu.state, gpu.proof.problem, gpu.proof.functions) == (GpuState.FREE, "the host has no GRUB", [])


def test_a_host_that_does_not_answer_is_waited_for(cloud, first):
    cloud.host.unreachable = True
    cloud.call(verbs.prove_gpu, id=first)
    cloud.run()
    assert shown(cloud, first).state is GpuState.CLEANING
    assert "does not answer" in shown(cloud, first).waiting_for
    cloud.host.unreachable = False
    cloud.settle()
    assert shown(cloud, first).proof.problem == ""


def test_one_that_cannot_be_cleaned_is_not_proved_for_ever(cloud, first):
    cloud.host.sick_gpus[cloud.host.host_gpus.gpus[0].address] = "it does not come back"
    cloud.call(verbs.prove_gpu, id=first)
    cloud.settle()
    assert (rows(cloud)[0].state, rows(cloud)[0].proving) == (GpuState.QUARANTINED, False)


def test_a_proof_that_is_asked_for_while_it_is_being_cleaned_is_not_forgotten(cloud, first, monkeypatch):
    clean = MemoryGpus.clean

    def ask_meanwhile(self, address):
        clean(self, address)
        monkeypatch.setattr(MemoryGpus, "clean", clean)
        cloud.call(verbs.prove_gpu, id=first)

    monkeypatch.setattr(MemoryGpus, "clean", ask_meanwhile)
    cloud.call(verbs.clean_gpu, id=first)
    cloud.settle()
    assert (shown(cloud, first).state, shown(cloud, first).proof.problem) == (GpuState.FREE, "")


def test_a_guest_that_hangs_is_given_up_before_whoever_waits_for_it():
    assert LEASE.total_seconds() - 20 >= SECONDS


def test_what_a_vm_holds_is_not_given_to_another_guest(cloud, first):
    held(cloud)
    with pytest.raises(Refused, match="a VM holds it"):
        cloud.call(verbs.prove_gpu, id=first)
    assert not rows(cloud)[0].proving
