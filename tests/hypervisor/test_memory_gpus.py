"""Made-up GPUs: as many as were asked for, laid out like those of a server."""

from collections import Counter

import pytest

from cumulet.hypervisor import unfit_causes
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
