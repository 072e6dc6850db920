"""The operator's look at GPUs, on both kinds of database."""

from dataclasses import replace

import pytest
from sqlalchemy import select
from tests.gpus.clouds import given_back, held
from tests.made_up import make_cloud
from tests.projects.people import add_user

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.errors import Forbidden, Invalid, NotFound, Refused
from cumulet.gpus import GpuState
from cumulet.gpus import operations as verbs
from cumulet.hypervisor.memory import made_up_id
from cumulet.journal import Event
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


@pytest.mark.parametrize("roles", [{}, {"default": Role.OWNER}])
def test_hosts_are_nobody_s_business_but_the_operator_s(cloud, every, roles):
    with cloud.database.writing() as db:
        other = add_user(db, "other", **roles)
    with pytest.raises(Forbidden):
        cloud.call(verbs.list_gpus, other)
    for id in (every[0], "no such"):
        with pytest.raises(Forbidden) as refused:
            cloud.call(verbs.get_gpu, other, id=id)
        assert "memory-1" not in refused.value.message


def given(cloud, every):
    """A VM has the first GPU."""
    vm_id = held(cloud)
    gpu = cloud.call(verbs.get_gpu, id=every[0]).gpu
    assert (gpu.state, gpu.project_id, gpu.vm_id) == (GpuState.HELD, "default", "hello")
    return vm_id


def shown(cloud, id):
    return cloud.call(verbs.get_gpu, id=id).gpu


def test_what_waits_to_be_cleaned_says_for_what_and_one_that_was_says_when(cloud, every):
    assert shown(cloud, every[0]).cleaned_time == cloud.clock.now
    vm_id = given(cloud, every)
    host = next(iter(cloud.hosts.values()))
    host.unreachable = True
    given_back(cloud, vm_id)
    gpu = shown(cloud, every[0])
    assert (gpu.state, gpu.vm_id) == (GpuState.CLEANING, "")
    assert "does not answer" in gpu.waiting_for
    host.unreachable = False
    cloud.settle()
    assert (shown(cloud, every[0]).state, shown(cloud, every[0]).waiting_for) == (GpuState.FREE, "")


def test_one_that_is_quarantined_is_free_again_once_its_operator_had_it_cleaned(cloud, every):
    vm_id = given(cloud, every)
    host = next(iter(cloud.hosts.values()))
    address = host.host_gpus.gpus[0].address
    host.sick_gpus[address] = "it does not come back"
    given_back(cloud, vm_id)
    cloud.settle()
    gpu = shown(cloud, every[0])
    assert gpu.state is GpuState.QUARANTINED
    assert (gpu.problems[0].problem, "gpu clean" in gpu.problems[0].cure) == ("it does not come back", True)
    cloud.call(verbs.clean_gpu, id=every[0])
    cloud.settle()
    assert shown(cloud, every[0]).state is GpuState.QUARANTINED
    del host.sick_gpus[address]
    cloud.call(verbs.clean_gpu, id=every[0])
    cloud.settle()
    assert (shown(cloud, every[0]).state, shown(cloud, every[0]).problems) == (GpuState.FREE, [])


def test_what_a_vm_holds_or_is_unfit_or_away_is_not_cleaned(cloud, every):
    given(cloud, every)
    with pytest.raises(Refused, match="a VM holds it"):
        cloud.call(verbs.clean_gpu, id=every[0])
    host = next(iter(cloud.hosts.values()))
    _, second, third = host.host_gpus.gpus
    host.host_gpus = replace(host.host_gpus, gpus=(replace(second, boot_display=True), third))
    cloud.sweep()
    with pytest.raises(Refused, match="it is UNFIT: the host's own screen is on it"):
        cloud.call(verbs.clean_gpu, id=every[1])
    host.host_gpus = replace(host.host_gpus, gpus=(third,))
    cloud.sweep()
    with pytest.raises(Refused, match="it is ABSENT: it is not on the bus"):
        cloud.call(verbs.clean_gpu, id=every[1])


def test_one_that_is_withdrawn_stays_whose_it_is_until_it_is_offered_again(cloud, every):
    given(cloud, every)
    for verb, withdrawn in ((verbs.withdraw_gpu, True), (verbs.offer_gpu, False)):
        for _ in range(2):
            cloud.call(verb, id=every[0])
        gpu = shown(cloud, every[0])
        assert (gpu.withdrawn, gpu.state, gpu.vm_id) == (withdrawn, GpuState.HELD, "hello")
    with cloud.database.reading() as db:
        found = db.scalars(select(Event).where(Event.event.in_(("gpu.withdrawn", "gpu.offered")))).all()
    assert [(event.event, event.actor) for event in found] == [
        ("gpu.withdrawn", cloud.owner.email),
        ("gpu.offered", cloud.owner.email),
    ]


@pytest.mark.parametrize("verb", [verbs.clean_gpu, verbs.prove_gpu, verbs.withdraw_gpu, verbs.offer_gpu])
def test_only_the_operator_changes_gpus_and_only_those_that_are_there(cloud, every, verb):
    with pytest.raises(NotFound, match="no GPU 'nothing'"):
        cloud.call(verb, id="nothing")
    with cloud.database.writing() as db:
        other = add_user(db, "other", default=Role.EDITOR)
    with pytest.raises(Forbidden):
        cloud.call(verb, other, id=every[0])
