"""The operator's look at GPUs, on both kinds of database."""

from dataclasses import replace

import pytest
from tests.made_up import make_cloud
from tests.projects.people import add_user

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.errors import Forbidden, Invalid, NotFound
from cumulet.gpus import GpuState
from cumulet.gpus import operations as verbs
from cumulet.hypervisor.memory import made_up_id
from cumulet.projects import Role

URI = "memory:?hosts=2&gpus=3&gpu_model=H100"


@pytest.fixture
def cloud(database, tmp_path):
    catalogue = with_gpus(read_catalogue(None), "H100", made_up_id("H100"))
    cloud = make_cloud(database, tmp_path, hypervisor=URI, catalogue=catalogue)
    cloud.sweep()
    return cloud


def ids(answer):
    return [gpu.id for gpu in answer.gpus]


@pytest.fixture
def every(cloud):
    """The ids of all GPUs."""
    return sorted(
        f"memory-{n}:{gpu.address}"
        for n, host in enumerate(cloud.hosts.values(), 1)
        for gpu in host.host_gpus.gpus
    )


def test_gpus_of_all_hosts_are_listed_by_host_and_address(cloud, every):
    assert ids(cloud.call(verbs.list_gpus)) == every
    assert len(every) == 6


def test_gpus_of_one_host_are_listed_by_its_name(cloud, every):
    assert ids(cloud.call(verbs.list_gpus, host_id="memory-2")) == every[3:]
    with pytest.raises(NotFound, match="no host 'memory-3'; there are 'memory-2', 'memory-1'"):
        cloud.call(verbs.list_gpus, host_id="memory-3")


def test_pages_tell_each_once_and_of_one_host_if_asked(cloud, every):
    for host_id, wanted in (("", every), ("memory-2", every[3:])):
        found, token, pages = [], "", 0
        while token or not pages:
            answer = cloud.call(verbs.list_gpus, host_id=host_id, page_size=2, page_token=token)
            found, token, pages = found + ids(answer), answer.page_token, pages + 1
        assert (found, pages) == (wanted, (len(wanted) + 1) // 2)
    with pytest.raises(Invalid, match="pageToken"):
        cloud.call(verbs.list_gpus, page_token="no token")


def test_a_gpu_is_shown_with_its_model_and_where_it_is(cloud, every):
    gpu = cloud.call(verbs.get_gpu, id=every[0]).gpu
    card = next(iter(cloud.hosts.values())).host_gpus.gpus[0]
    assert (gpu.id, gpu.host_id, gpu.address) == (every[0], "memory-1", card.address)
    assert (gpu.state, gpu.state_time, gpu.problems) == (GpuState.FREE, cloud.clock.now, [])
    assert (gpu.model_id, gpu.model_name, gpu.memory_gib) == ("h100", "H100", 80)
    assert (gpu.pci_id, gpu.functions[0].driver) == (card.pci_id, "vfio-pci")
    assert (gpu.numa_node, gpu.bridges, gpu.reset_methods) == (
        0,
        list(card.bridges),
        ["flr", "bus", "bridge"],
    )
    assert [int(size) for size in gpu.bar_bytes] == list(card.bar_bytes)


def test_a_card_that_the_catalogue_does_not_know_is_shown_by_its_ids(cloud, every):
    host = next(iter(cloud.hosts.values()))
    first, *others = host.host_gpus.gpus
    strange = replace(first, functions=(replace(first.functions[0], pci_id="10de:ffff"),))
    host.host_gpus = replace(host.host_gpus, gpus=(strange, *others))
    cloud.sweep()
    gpu = cloud.call(verbs.get_gpu, id=every[0]).gpu
    assert (gpu.pci_id, gpu.model_id, gpu.model_name, gpu.memory_gib) == ("10de:ffff", "", "", 0)


def test_one_that_is_unfit_says_why_and_what_to_do(cloud, every):
    host = next(iter(cloud.hosts.values()))
    host.host_gpus = replace(host.host_gpus, gpus=(replace(host.host_gpus.gpus[0], boot_display=True),))
    cloud.sweep()
    gpu = cloud.call(verbs.get_gpu, id=every[0]).gpu
    assert (gpu.state, gpu.problems[0].problem) == (GpuState.UNFIT, "the host's own screen is on it")
    assert "first display" in gpu.problems[0].cure


def test_one_that_is_not_there_is_refused_with_those_that_are(cloud, every):
    with pytest.raises(NotFound, match=f"no GPU 'memory-1'; there are '{every[0]}'"):
        cloud.call(verbs.get_gpu, id="memory-1")


@pytest.mark.parametrize(("roles", "refusal"), [({}, NotFound), ({"default": Role.EDITOR}, Forbidden)])
def test_hosts_are_nobody_s_business_but_the_operator_s(cloud, every, roles, refusal):
    with cloud.database.writing() as db:
        other = add_user(db, "other", **roles)
    with pytest.raises(refusal):
        cloud.call(verbs.list_gpus, other)
    for id in (every[0], "no such"):
        with pytest.raises(refusal) as refused:
            cloud.call(verbs.get_gpu, other, id=id)
        assert "memory-1" not in refused.value.message
