"""Every field of CreateStorageDisk in and out of its rule, in both forms of the body."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.made_up import two_pools

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.disks.plan import DISK_ID, MOST_DISK_GIB, plan_disk
from cumulet.disks.wire import CreateStorageDisk, Disk
from cumulet.errors import Invalid

(BOTH,) = two_pools(read_catalogue(None)).data_centers
LOCAL_ONLY = replace(BOTH, disk_pools=(replace(BOTH.own_pool, storage_classes=("LOCAL",)),))
RIGHT = {"id": "data", "size_gib": 10}
OUT_OF_RULE = [
    ("id", "", "''"),
    ("id", "Data", "'Data'"),
    ("id", "x" * 129, "1 to 128"),
    ("id", "-x", "not beginning"),
    ("size_gib", 0, "0 is not accepted; expected 1 to 65536"),
    ("size_gib", -1, "-1"),
    ("size_gib", MOST_DISK_GIB + 1, "65537"),
    (
        "storage_class",
        StorageClass.NETWORK,
        "'STORAGE_CLASS_NETWORK' is not accepted; expected STORAGE_CLASS_LOCAL, which data center 'local' serves, or none",
    ),
]
FORMS = {
    "": lambda fields: CreateStorageDisk(**fields),
    "disk.": lambda fields: CreateStorageDisk(disk=Disk(**fields)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_disk_is_described_flat_or_under_disk(form):
    plan = plan_disk(FORMS[form](RIGHT | {"storage_class": StorageClass.LOCAL}), LOCAL_ONLY)
    assert (plan.name, plan.size_gib, plan.storage_class) == ("data", 10, StorageClass.LOCAL)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("asked", "given", "pool"),
    [
        (StorageClass.LOCAL, StorageClass.LOCAL, "fast"),
        (StorageClass.NETWORK, StorageClass.NETWORK, "local"),
        (StorageClass.UNKNOWN, StorageClass.NETWORK, "local"),
    ],
)
def test_a_class_leads_to_the_pool_that_serves_it_and_none_to_the_first(form, asked, given, pool):
    plan = plan_disk(FORMS[form](RIGHT | {"storage_class": asked}), BOTH)
    assert (plan.storage_class, plan.pool.id) == (given, pool)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("field", "value", "words"), OUT_OF_RULE)
def test_a_field_out_of_its_rule_is_refused_by_the_name_it_was_given_by(form, field, value, words):
    camel = {"size_gib": "sizeGib", "storage_class": "storageClass"}.get(field, field)
    with pytest.raises(Invalid) as refusal:
        plan_disk(FORMS[form](RIGHT | {field: value}), LOCAL_ONLY)
    assert refusal.value.message.startswith(f"{form}{camel}: ")
    assert words in refusal.value.message


@given(st.text(max_size=140), st.integers())
def test_what_is_planned_is_within_the_rules(name, size_gib):
    try:
        plan = plan_disk(CreateStorageDisk(id=name, size_gib=size_gib), LOCAL_ONLY)
    except Invalid:
        return
    assert DISK_ID.fullmatch(plan.name)
    assert 1 <= plan.size_gib <= MOST_DISK_GIB
