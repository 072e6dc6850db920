from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulet.errors import Invalid
from cumulet.hosts.gpu_room import GpuPick, GpuRoom, NotFree
from cumulet.hosts.place import (
    Capacity,
    Requirements,
    SizeLimits,
    nearest,
    place_disk,
    shortages,
    those_that_fit,
)
from cumulet.hosts.place import place as place_as_sold

POOLS = ("local", "fast")
sizes = st.integers(0, 64)
requirements = st.builds(
    Requirements,
    vcpus=st.integers(1, 64),
    memory_mib=st.integers(1, 64).map(lambda gib: gib * 1024),
    disk_gib=st.integers(1, 64),
    pool=st.sampled_from(POOLS),
)


ANY = SizeLimits(
    least=Requirements(vcpus=1, memory_mib=1024, disk_gib=1),
    least_vcpus_per_gib=0,
    most_vcpus_per_gib=1000,
    most_vcpus_per_gpu=1000,
)


def place(required, capacities):
    return place_as_sold(required, capacities, sizes=ANY).host_id


@st.composite
def capacities(draw):
    count = draw(st.integers(0, 5))
    return [
        Capacity(
            host_id=UUID(int=number),
            name=f"host-{number}",
            closed=draw(st.sampled_from(["", "no answer"])),
            memory_mib=64 * 1024,
            free_vcpus=draw(sizes),
            free_memory_mib=draw(st.integers(0, 64 * 1024)),
            free_disk_gib={pool: draw(sizes) for pool in POOLS},
        )
        for number in range(count)
    ]


def capacity(name="one", *, closed="", vcpus=8, memory_gib=8, disk_gib=8, of_gib=64, **further):
    return Capacity(
        host_id=UUID(int=sum(name.encode())),
        name=name,
        closed=closed,
        memory_mib=of_gib * 1024,
        free_vcpus=vcpus,
        free_memory_mib=memory_gib * 1024,
        free_disk_gib={"local": disk_gib} | further,
    )


def required(vcpus=1, memory_gib=1, disk_gib=1, pool="local"):
    return Requirements(vcpus=vcpus, memory_mib=memory_gib * 1024, disk_gib=disk_gib, pool=pool)


@given(requirements, capacities())
def test_a_vm_goes_where_it_fits_or_nowhere(required, capacities):
    fitting = {capacity.host_id for capacity in capacities if not shortages(required, capacity)}
    try:
        assert place(required, capacities) in fitting
    except Invalid:
        assert not fitting


@given(requirements, capacities())
def test_a_host_fits_exactly_when_there_are_no_words_for_what_it_lacks(required, capacities):
    fitting = [capacity for capacity in capacities if not shortages(required, capacity)]
    assert those_that_fit(required, capacities) == fitting


@st.composite
def sold(draw):
    """Sizes that are sold, of which a need is one."""
    required = draw(requirements)
    ratio = required.vcpus / (required.memory_mib // 1024)
    least = Requirements(
        vcpus=draw(st.integers(1, required.vcpus)),
        memory_mib=draw(st.integers(1, required.memory_mib // 1024)) * 1024,
        disk_gib=draw(st.integers(1, required.disk_gib)),
    )
    return required, SizeLimits(
        least=least,
        least_vcpus_per_gib=draw(st.floats(0, ratio)),
        most_vcpus_per_gib=draw(st.floats(ratio, 1000)),
    )


@given(sold(), capacities())
def test_the_nearest_size_fits_is_sold_and_is_never_more_than_asked(sold, capacities):
    required, sizes = sold
    closest = nearest(required, capacities, sizes=sizes)
    if closest is None:
        return
    assert any(not shortages(closest, capacity) for capacity in capacities)
    assert closest.vcpus <= required.vcpus
    assert closest.memory_mib <= required.memory_mib
    assert closest.disk_gib <= required.disk_gib
    assert closest.vcpus >= sizes.least.vcpus
    assert closest.memory_mib >= sizes.least.memory_mib
    assert closest.disk_gib >= sizes.least.disk_gib
    ratio = closest.vcpus / (closest.memory_mib // 1024)
    assert sizes.least_vcpus_per_gib <= ratio <= sizes.most_vcpus_per_gib


@given(sold(), capacities())
def test_what_fits_is_its_own_nearest_size(sold, capacities):
    required, sizes = sold
    if any(not shortages(required, capacity) for capacity in capacities):
        assert nearest(required, capacities, sizes=sizes) == required


def test_it_goes_to_the_host_with_the_largest_free_share_of_memory():
    half, third = capacity("half", memory_gib=8, of_gib=16), capacity("third", memory_gib=16, of_gib=48)
    assert place(required(), [third, half]) == half.host_id


def test_the_refusal_tells_what_was_short_on_how_many_hosts_and_what_would_fit():
    full = [
        capacity("a", vcpus=2),
        capacity("b", memory_gib=3),
        capacity("c", disk_gib=0),
        capacity("d", closed="no answer"),
    ]
    with pytest.raises(Invalid) as refused:
        place(required(vcpus=4, memory_gib=4, disk_gib=4), full)
    assert refused.value.message == (
        "no host has capacity for this VM (1 host: 2 vCPUs free, 4 requested; 1 host: 3 GiB memory free, 4 requested; "
        "1 host: 0 GiB disk free, 4 requested; 1 host: no answer); "
        "the nearest size that fits is 4 vCPUs, 3 GiB memory, 4 GiB disk"
    )
    (details,) = refused.value.details
    assert details["reason"] == "NO_CAPACITY"


def test_hosts_with_one_reason_are_told_at_once_and_by_name_to_the_operator_alone():
    full = [capacity(f"host-{number}", vcpus=number % 3) for number in range(100)]
    silent = [capacity("silent-1", closed="no answer"), capacity("silent-2", closed="no answer")]
    with pytest.raises(Invalid) as refused:
        place(required(vcpus=4), full + silent)
    assert refused.value.message == (
        "no host has capacity for this VM (100 hosts: at most 2 vCPUs free, 4 requested; 2 hosts: no answer); "
        "the nearest size that fits is 2 vCPUs, 1 GiB memory, 1 GiB disk"
    )
    assert refused.value.for_operator == (
        "no host has capacity for this VM (host-0, host-1, host-2, host-3, host-4 and 95 more: at most 2 vCPUs free, "
        "4 requested; silent-1, silent-2: no answer); "
        "the nearest size that fits is 2 vCPUs, 1 GiB memory, 1 GiB disk"
    )


def test_room_in_another_pool_is_no_room():
    hosts = [capacity("a", disk_gib=50, fast=10), capacity("b", disk_gib=50)]
    with pytest.raises(Invalid) as refused:
        place(required(disk_gib=20, pool="fast"), hosts)
    assert refused.value.message == (
        "no host has capacity for this VM (2 hosts: at most 10 GiB disk free in pool 'fast', 20 requested); "
        "the nearest size that fits is 1 vCPU, 1 GiB memory, 10 GiB disk"
    )


def test_a_disk_goes_to_the_host_with_the_most_free_in_its_pool():
    hosts = [capacity("a", disk_gib=50, fast=10), capacity("b", disk_gib=20, fast=30)]
    assert place_disk(5, hosts, pool="local") == hosts[0].host_id
    assert place_disk(5, hosts, pool="fast") == hosts[1].host_id
    with pytest.raises(Invalid, match="the largest that fits is 30 GiB"):
        place_disk(40, hosts, pool="fast")


@pytest.mark.parametrize(
    ("hosts", "words"),
    [([], "there is no host"), ([capacity(vcpus=0)], "no smaller size fits now")],
    ids=["none", "full"],
)
def test_a_refusal_says_so_when_nothing_fits_at_all(hosts, words):
    with pytest.raises(Invalid, match=words):
        place(required(), hosts)


# GPUs
def room(free, together=None, *, rank=(1,), **not_free):
    """A host's GPUs, of which any number can be had, or just those that are named."""
    most = range(free + 1) if together is None else together

    def pick(count):
        return GpuPick(tuple(UUID(int=number) for number in range(count)), rank) if count in most else None

    return GpuRoom("H100", free, {NotFree(how): count for how, count in not_free.items()}, pick=pick)


def with_gpus(gpus, *words, **sizes):
    return replace(capacity(*words, **sizes), gpus=gpus)


def requires(gpus, **sizes):
    return replace(required(**sizes), gpus=gpus)


def test_a_vm_with_gpus_goes_where_they_lie_best_and_then_where_the_most_memory_is_free():
    hosts = [
        with_gpus(room(8, rank=(2, 4)), "apart", memory_gib=60),
        with_gpus(room(8, rank=(1, 2)), "little", memory_gib=4),
        with_gpus(room(8, rank=(1, 2)), "much", memory_gib=30),
        with_gpus(room(1, rank=(1, 1)), "few", memory_gib=60),
    ]
    chosen = place_as_sold(requires(4), hosts, sizes=ANY)
    assert chosen.name == "much"
    assert chosen.gpus_for(4) == tuple(UUID(int=number) for number in range(4))
    assert place_as_sold(required(), hosts, sizes=ANY).gpus_for(0) == ()


def test_hosts_that_lack_gpus_alike_are_told_together_with_what_their_gpus_are_at():
    hosts = [
        with_gpus(room(1, held=6, quarantined=1), "a"),
        with_gpus(room(3, held=5), "b"),
        with_gpus(room(0), "c"),
        with_gpus(room(8), "d", vcpus=2),
        with_gpus(room(2), "e", vcpus=3),
    ]
    with pytest.raises(Invalid) as refused:
        place(requires(4, vcpus=4), hosts)
    assert refused.value.message == (
        "no host has capacity for this VM (2 hosts: 4 of 16 H100 GPUs free, at most 3 together, 11 held, "
        "1 quarantined, 4 requested; 1 host: no H100 GPUs; 1 host: 2 vCPUs free, 4 requested; "
        "1 host: 3 vCPUs free, 4 requested, 2 of 2 H100 GPUs free, 4 requested); "
        "the nearest size that fits is 3 GPUs, 4 vCPUs, 1 GiB memory, 1 GiB disk"
    )


def test_a_reason_that_the_operator_alone_reads_follows_its_gpus():
    unfit = {NotFree("unfit", "it drives the screen"): 1, NotFree("unfit", "no IOMMU"): 2, NotFree("held"): 1}
    gpus = GpuRoom("H100", 0, unfit)
    with pytest.raises(Invalid) as refused:
        place(requires(1), [with_gpus(gpus, "a")])
    assert "(1 host: 0 of 4 H100 GPUs free, 1 held, 3 unfit, 1 requested)" in refused.value.message
    assert (
        "(a: 0 of 4 H100 GPUs free, 1 held, 1 unfit (it drives the screen), 2 unfit (no IOMMU), 1 requested)"
        in refused.value.for_operator
    )


@given(
    gpus=st.integers(1, 8),
    vcpus=st.integers(1, 64),
    free=st.integers(0, 8),
    together=st.sets(st.sampled_from([1, 2, 4, 8])),
    ratio=st.tuples(st.integers(0, 8), st.integers(8, 64)),
    free_vcpus=st.integers(0, 64),
)
def test_the_nearest_number_of_gpus_can_be_had_with_as_many_vcpus_for_each(
    gpus, vcpus, free, together, ratio, free_vcpus
):
    least, most = ratio
    if not least <= vcpus / gpus <= most:
        return
    host = with_gpus(room(free, {one for one in together if one <= free}), "a", vcpus=free_vcpus)
    asked = requires(gpus, vcpus=vcpus)
    limits = replace(ANY, least_vcpus_per_gpu=least, most_vcpus_per_gpu=most)
    closest = nearest(asked, [host], sizes=limits)
    if closest is None:
        assert shortages(asked, host)
        return
    assert not shortages(closest, host)
    assert (1 <= closest.gpus <= gpus, closest.vcpus <= vcpus) == (True, True)
    assert least <= closest.vcpus / closest.gpus <= most
