from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.made_up import NOON, two_pools, vm_request

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.disks.wire import Disk
from cumulet.errors import Invalid
from cumulet.hosts import GpuRoom
from cumulet.images import Image
from cumulet.vms.create.plan import PASSWORD_RULE, check_number_of_gpus, check_password, hostname_of, plan_vm
from cumulet.vms.wire import CpuTopology

(STANDARD,) = read_catalogue(None).machine_types
(BOTH,) = two_pools(read_catalogue(None)).data_centers
LOCAL_ONLY = replace(BOTH, disk_pools=(replace(BOTH.own_pool, storage_classes=("LOCAL",)),))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann"
numbers = st.integers(-2, 20) | st.integers(-(2**31), 2**31 - 1)


def image(size_gib=2):
    return Image(
        id="micro",
        name="micro",
        display_name="micro",
        description="",
        size_gib=size_gib,
        format="qcow2",
        sha256="0" * 64,
        origin="a test",
    )


def plan(keys=(), data_center=BOTH, **fields):
    return plan_vm(vm_request(**fields), STANDARD, image(), data_center=data_center, keys=keys, now=NOON)


@given(vcpus=numbers, memory_gib=numbers, size=numbers, nested=numbers, sockets=numbers, cores=numbers)
def test_whatever_the_numbers_there_is_a_plan_within_the_rules_or_a_refusal(
    vcpus, memory_gib, size, nested, sockets, cores
):
    fields = {"vcpus": vcpus, "memory_gib": memory_gib, "boot_disk_size_gib": size}
    try:
        made = plan(
            boot_disk=Disk(size_gib=nested),
            topology=CpuTopology(sockets=sockets, cores=cores, threads=1),
            **fields,
        )
    except Invalid:
        return
    assert STANDARD.min_vcpu <= made.required.vcpus == vcpus <= STANDARD.max_vcpu
    assert made.required.memory_mib == memory_gib * 1024
    assert made.required.disk_gib == made.boot_disk_gib >= 2


@pytest.mark.parametrize(
    ("boot_disk", "given", "pool"),
    [
        (Disk(storage_class=StorageClass.LOCAL), StorageClass.LOCAL, "fast"),
        (Disk(storage_class=StorageClass.NETWORK), StorageClass.NETWORK, "local"),
        (Disk(), StorageClass.NETWORK, "local"),
        (None, StorageClass.NETWORK, "local"),
    ],
)
def test_a_class_leads_to_the_pool_that_serves_it_and_none_to_the_first(boot_disk, given, pool):
    made = plan(boot_disk=boot_disk)
    assert (made.storage_class, made.pool.id, made.required.pool) == (given, pool, pool)


def test_a_class_that_no_pool_serves_is_refused():
    with pytest.raises(Invalid) as refusal:
        plan(data_center=LOCAL_ONLY, boot_disk=Disk(storage_class=StorageClass.NETWORK))
    assert refusal.value.message == (
        "bootDisk.storageClass: 'STORAGE_CLASS_NETWORK' is not accepted; "
        "expected STORAGE_CLASS_LOCAL, which data center 'local' serves, or none"
    )


@given(st.integers(1, 16), st.integers(1, 8), st.integers(1, 8), st.integers(1, 8))
def test_a_topology_has_just_the_vcpus_asked_for(vcpus, sockets, cores, threads):
    topology = CpuTopology(sockets=sockets, cores=cores, threads=threads)
    try:
        assert plan(vcpus=vcpus, topology=topology).topology == topology
    except Invalid:
        assert sockets * cores * threads != vcpus


@given(st.text())
def test_any_text_is_an_id_within_the_rule_or_refused(text):
    try:
        name = plan(vm_id=text).boot_disk_name
    except Invalid:
        return
    assert name == f"{text}-boot"
    assert 1 <= len(hostname_of(text)) <= 63
    assert hostname_of(text)[-1] != "-"


@given(st.text(max_size=70))
def test_a_refused_password_is_never_repeated(password):
    try:
        check_password(password)
    except Invalid as refusal:
        assert refusal.message == f"password: '(not shown)' is not accepted; expected {PASSWORD_RULE}"  # noqa: PT017


def test_without_a_wish_the_boot_disk_is_as_large_as_its_image():
    assert plan().boot_disk_gib == 2


@pytest.mark.parametrize("fields", [{"boot_disk": Disk(size_gib=9)}, {"boot_disk_size_gib": 9}])
def test_the_boot_disk_s_size_has_two_spellings(fields):
    assert plan(**fields).boot_disk_gib == 9


def test_a_disk_smaller_than_its_image_is_refused():
    with pytest.raises(Invalid, match="bootDiskSizeGib: 1 is not accepted; expected 2 to"):
        plan(boot_disk_size_gib=1)


def test_keys_of_the_source_and_custom_ones_are_installed_once_each():
    assert plan(keys=[KEY, "another"], custom_ssh_keys=[KEY, f"{KEY}\n"]).ssh_keys == (KEY, "another")


def test_parts_of_a_topology_that_are_left_out_are_one():
    assert plan(vcpus=4, topology=CpuTopology(cores=4)).topology == CpuTopology(sockets=1, cores=4, threads=1)
    assert plan(topology=CpuTopology()).topology == plan().topology == CpuTopology()


def test_a_long_id_s_hostname_is_cut_to_a_dns_label():
    assert hostname_of("a" * 63) == "a" * 63
    assert len(hostname_of("a" * 70)) == 63


def test_long_names_that_begin_alike_have_hostnames_of_their_own():
    assert hostname_of("a" * 64) != hostname_of("a" * 65) != hostname_of("a" * 63)


def test_the_keys_of_a_vm_are_bounded_in_sum():
    keys = [f"ssh-ed25519 {'A' * 1000} {number:010}" for number in range(64)]
    assert len(plan(keys=keys).ssh_keys) == 64
    with pytest.raises(
        Invalid, match=r"64 keys of the source and 1 custom ones, 656\d\d bytes.* at most 65536"
    ):
        plan(keys=keys, custom_ssh_keys=[KEY])


@pytest.mark.parametrize(
    ("sizes", "gpus", "accepted"),
    [
        ([1, 2, 3], 4, "1 to 3: no host has more H100 GPUs"),
        ([1, 2, 4, 8], 3, "1, 2, 4 or 8: so many H100 GPUs are joined with each other"),
        ([8], 4, "8: so many H100 GPUs are joined with each other"),
    ],
)
def test_a_number_of_gpus_that_no_host_gives_together_is_refused_with_those_that_some_do(
    sizes, gpus, accepted
):
    rooms = [GpuRoom("H100", sizes=sizes)]
    with pytest.raises(Invalid, match=f"gpus: {gpus} is not accepted; expected {accepted}"):
        check_number_of_gpus(gpus, rooms)
    check_number_of_gpus(sizes[-1], rooms)
    check_number_of_gpus(gpus, [])  # the lack of any is told by what the hosts have
