"""Made-up GPUs: as many as were asked for, laid out like those of a server."""

from collections import Counter
from dataclasses import replace

import pytest
from tests.hypervisor.contract import a_spec, prepare
from tests.hypervisor.test_memory import IMAGE

from cumulet.hypervisor import GpusNotJoined, GpuSpec, unfit_causes
from cumulet.hypervisor.memory import made_up_id, memory_hosts


def gpus_of(count):
    uri = f"memory:?gpus={count}&gpu_model=H100"
    return memory_hosts(uri, pools=("local",))["memory-1"].gpus.read()


def test_a_host_without_any_says_so():
    assert memory_hosts("memory:", pools=("local",))["memory-1"].gpus.read().gpus == ()


@pytest.mark.parametrize("count", [1, 3, 8, 40])
def test_there_are_so_many_all_fit_on_two_nodes_and_two_behind_each_switch(count):
    host = gpus_of(count)
    nodes = Counter(gpu.numa_node for gpu in host.gpus)
    assert len({gpu.address for gpu in host.gpus}) == count
    assert (sum(nodes.values()), max(nodes.values())) == (count, (count + 1) // 2)
    assert max(Counter(gpu.bridges[1] for gpu in host.gpus).values()) <= 2
    assert {gpu.pci_id for gpu in host.gpus} == {made_up_id("H100")}
    assert not any(unfit_causes(gpu, host.iommu) for gpu in host.gpus)


def test_a_switch_is_on_one_node():
    assert len({(gpu.bridges[1], gpu.numa_node) for gpu in gpus_of(8).gpus}) == 4


def test_models_have_ids_of_their_own():
    assert made_up_id("H100") != made_up_id("L40S")


@pytest.fixture
def board():
    uri = "memory:?gpus=8&gpu_model=H100&gpu_fabric=nvswitch"
    return memory_hosts(uri, pools=("local",))["memory-1"]


def start(board, *places, spec=None):
    """Start a machine with the GPUs at these places of the board."""
    addresses = [board.host_gpus.gpus[place].address for place in places]
    gpus = tuple(GpuSpec((address,), None) for address in addresses)
    spec = replace(spec or a_spec(IMAGE), gpus=gpus)
    prepare(board, IMAGE, spec)
    board.machines.start(spec.id)
    return spec


def active(board):
    return [one.number for one in board.gpus.read().partitions if one.active]


def test_a_board_with_switches_offers_the_partitions_of_an_hgx_board(board):
    offered = board.gpus.read().partitions
    assert [len(one.addresses) for one in offered] == [8, 4, 4, 2, 2, 2, 2, *[1] * 8]
    everything = [gpu.address for gpu in board.host_gpus.gpus]
    for size in (8, 4, 2, 1):
        assert [at for one in offered if len(one.addresses) == size for at in one.addresses] == everything
    assert active(board) == []


def test_a_machine_s_gpus_are_joined_from_its_start_until_one_of_them_is_cleaned(board):
    spec = start(board, 0, 1)
    assert active(board) == [3]
    board.machines.force_off(spec.id)
    assert active(board) == [3]
    board.gpus.clean(board.host_gpus.gpus[1].address)
    assert active(board) == []


def test_a_machine_with_more_or_fewer_gpus_than_before_is_joined_anew(board):
    spec = start(board, 0, 1)
    board.machines.force_off(spec.id)
    start(board, 0, 1, 2, 3, spec=spec)
    assert active(board) == [1]
    board.machines.force_off(spec.id)
    with pytest.raises(
        GpusNotJoined, match="partition 1, which has some GPUs of partition 3, is still active"
    ):
        start(board, 0, 1, spec=spec)
    for place in (2, 3):
        board.gpus.clean(board.host_gpus.gpus[place].address)
    board.machines.start(spec.id)
    assert active(board) == [3]


def test_gpus_that_are_no_partition_start_no_machine(board):
    with pytest.raises(GpusNotJoined, match="no partition has exactly the GPUs"):
        start(board, 1, 2)


def test_a_machine_finds_what_another_left_on_a_gpu_that_was_not_cleaned(board):
    first = board.host_gpus.gpus[0].address
    for cleaned, leaked in ((True, set()), (False, {first})):
        left = start(board, 0)
        board.machines.undefine(left.id)
        assert board.contents.used_gpus == {first: left.id}
        if cleaned:
            board.gpus.clean(first)
        again = start(board, 0)
        board.machines.force_off(again.id)
        board.machines.start(again.id)
        assert board.contents.leaked_gpus == leaked
        board.machines.undefine(again.id)
        board.gpus.clean(first)
