"""Every field of CreateStorageDisk in and out of its rule, in both forms of the body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulet.catalogue import StorageClass
from cumulet.disks.plan import DISK_ID, MOST_DISK_GIB, plan_disk
from cumulet.disks.wire import CreateStorageDisk, Disk
from cumulet.errors import Invalid

RIGHT = {"id": "data", "size_gib": 10}
OUT_OF_RULE = [
    ("id", "", "''"),
    ("id", "Data", "'Data'"),
    ("id", "x" * 129, "1 to 128"),
    ("id", "-x", "not beginning"),
    ("size_gib", 0, "0 is not accepted; expected 1 to 65536"),
    ("size_gib", -1, "-1"),
    ("size_gib", MOST_DISK_GIB + 1, "65537"),
    ("storage_class", StorageClass.NETWORK, "STORAGE_CLASS_LOCAL"),
]
FORMS = {
    "": lambda fields: CreateStorageDisk(**fields),
    "disk.": lambda fields: CreateStorageDisk(disk=Disk(**fields)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_disk_is_described_flat_or_under_disk(form):
    plan = plan_disk(FORMS[form](RIGHT | {"storage_class": StorageClass.LOCAL}))
    assert (plan.name, plan.size_gib) == ("data", 10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("field", "value", "words"), OUT_OF_RULE)
def test_a_field_out_of_its_rule_is_refused_by_the_name_it_was_given_by(form, field, value, words):
    camel = {"size_gib": "sizeGib", "storage_class": "storageClass"}.get(field, field)
    with pytest.raises(Invalid) as refusal:
        plan_disk(FORMS[form](RIGHT | {field: value}))
    assert refusal.value.message.startswith(f"{form}{camel}: ")
    assert words in refusal.value.message


@given(st.text(max_size=140), st.integers())
def test_what_is_planned_is_within_the_rules(name, size_gib):
    try:
        plan = plan_disk(CreateStorageDisk(id=name, size_gib=size_gib))
    except Invalid:
        return
    assert DISK_ID.fullmatch(plan.name)
    assert 1 <= plan.size_gib <= MOST_DISK_GIB
