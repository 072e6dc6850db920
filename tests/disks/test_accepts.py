"""Which disk accepts which verb: every kind, state and wish."""

from itertools import product
from uuid import uuid4

import pytest

from cumulet.disks import Disk, DiskState, DiskType
from cumulet.disks.accepts import accept_attach, accept_change, accept_delete, accept_detach
from cumulet.errors import Refused
from cumulet.resource import Wanted

STATES = (DiskState.INIT, DiskState.READY, DiskState.USED, DiskState.LOCKED, DiskState.ERROR)
EVERY = list(product((DiskType.BOOT, DiskType.STORAGE), Wanted, STATES, (None, uuid4())))


def disk(type, wanted, state, vm_id):
    return Disk(name="data", type=type, wanted=wanted, state=state, vm_id=vm_id)


def grow(disk):
    accept_change(disk, "resize")


def reason(accept, *disk_and_more):
    """Why a disk refuses, or nothing when it accepts."""
    try:
        accept(*disk_and_more)
    except Refused as refusal:
        return refusal.reason if "'data'" in refusal.message else "the disk is not named"
    return ""


@pytest.mark.parametrize(("type", "wanted", "state", "vm_id"), EVERY)
def test_a_disk_joins_a_vm_only_when_it_is_ready_and_free(type, wanted, state, vm_id):
    ready = state in {DiskState.INIT, DiskState.READY}
    free = vm_id is None and wanted is Wanted.KEPT and ready
    said = reason(accept_attach, disk(type, wanted, state, vm_id))
    assert (said == "") is (free and type is DiskType.STORAGE)
    if type is DiskType.BOOT:
        assert said == "DISK_TYPE_INCORRECT"
    elif vm_id:
        assert said == "DISK_IN_USE"
    elif not free:
        assert said == "DISK_NOT_READY"


@pytest.mark.parametrize(("type", "wanted", "state", "vm_id"), EVERY)
def test_a_disk_is_deleted_only_when_no_vm_has_it(type, wanted, state, vm_id):
    said = reason(accept_delete, disk(type, wanted, state, vm_id))
    if type is DiskType.BOOT:
        assert said == "DISK_TYPE_INCORRECT"
    else:
        assert said == ("DISK_IN_USE" if vm_id else "")


@pytest.mark.parametrize(("type", "wanted", "state", "vm_id"), EVERY)
def test_a_disk_leaves_a_vm_only_when_one_has_it(type, wanted, state, vm_id):
    said = reason(accept_detach, disk(type, wanted, state, vm_id))
    if type is DiskType.BOOT:
        assert said == "DISK_TYPE_INCORRECT"
    else:
        assert said == ("" if vm_id else "DISK_NOT_IN_USE")


@pytest.mark.parametrize(
    ("accept", "wanted", "state", "vm_id", "passing"),
    [
        (accept_attach, Wanted.KEPT, DiskState.USED, uuid4(), False),
        (accept_attach, Wanted.DETACHED, DiskState.USED, uuid4(), True),
        (accept_attach, Wanted.KEPT, DiskState.LOCKED, None, True),
        (accept_attach, Wanted.DELETED, DiskState.READY, None, False),
        (accept_attach, Wanted.KEPT, DiskState.ERROR, None, False),
        (accept_delete, Wanted.KEPT, DiskState.USED, uuid4(), False),
        (accept_delete, Wanted.DETACHED, DiskState.USED, uuid4(), True),
        (grow, Wanted.KEPT, DiskState.INIT, None, False),
        (grow, Wanted.KEPT, DiskState.INIT, uuid4(), True),
        (grow, Wanted.KEPT, DiskState.LOCKED, uuid4(), True),
        (grow, Wanted.DETACHED, DiskState.USED, uuid4(), True),
        (grow, Wanted.DELETED, DiskState.READY, None, False),
        (grow, Wanted.KEPT, DiskState.ERROR, None, False),
    ],
)
def test_a_refusal_says_whether_it_passes_with_the_work_under_way(accept, wanted, state, vm_id, passing):
    with pytest.raises(Refused) as refusal:
        accept(disk(DiskType.STORAGE, wanted, state, vm_id))
    assert refusal.value.passing is passing


@pytest.mark.parametrize(("type", "wanted", "state", "vm_id"), EVERY)
def test_a_disk_is_changed_only_when_it_is_at_rest(type, wanted, state, vm_id):
    at_rest = wanted is Wanted.KEPT and state is (DiskState.USED if vm_id else DiskState.READY)
    said = reason(accept_change, disk(type, wanted, state, vm_id), "resize")
    assert said == ("" if at_rest else "DISK_NOT_READY")
