from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Integer, bindparam, exc, select, text
from tests.made_up import NOON, PROJECT

from cumulet.catalogue import StorageClass
from cumulet.db import (
    UNREACHABLE,
    change_each,
    change_rows,
    fetch_columns,
    insert_row,
    insert_rows,
    rows_of,
    update_row,
)
from cumulet.disks import Disk, DiskState, DiskType
from cumulet.hosts.model import Installation
from cumulet.networks import ExternalAddress
from cumulet.resource import Wanted

DISK = {
    "id": UUID(int=7),
    "project_id": PROJECT,
    "name": "data",
    "wanted": Wanted.KEPT,
    "state": DiskState.INIT,
    "type": DiskType.STORAGE,
    "data_center_id": "local",
    "size_gib": 3,
    "storage_class": StorageClass.LOCAL,
    "pool": "local",
    "gib_price": Decimal("0.000116"),
    "create_time": NOON,
}


def values_of(row):
    return {name: getattr(row, name) for name in DISK}


def test_a_row_that_is_added_plainly_is_read_as_an_object_and_the_other_way_round(cloud):
    other = DISK | {"id": UUID(int=8), "name": "more"}
    columns = select(*(getattr(Disk, name) for name in DISK)).where(Disk.name == bindparam("named"))
    with cloud.database.writing() as db:
        insert_row(db, Disk, **DISK, host_id=cloud.host_id)
        assert values_of(db.get_one(Disk, DISK["id"])) == DISK
        db.add(Disk(**other, host_id=cloud.host_id))
        (found,) = fetch_columns(db, columns, named="more")
        assert values_of(found) == other


def test_columns_that_are_not_named_get_their_default(cloud):
    with cloud.database.writing() as db:
        insert_row(db, Disk, **DISK, host_id=cloud.host_id)
        row = db.get_one(Disk, DISK["id"])
    assert (row.reverting, row.vm_id) == (False, None)


def test_a_default_that_is_worked_out_is_given(database):
    address = {"data_center_id": "local", "address": "198.19.0.9", "holder_id": uuid4()}
    with pytest.raises(TypeError, match=r"external_address.number"), database.writing() as db:
        insert_row(db, ExternalAddress, **address)


def test_a_statement_whose_text_depends_on_values_is_refused(database):
    several = select(Disk.name).where(Disk.name.in_(["data"]))
    with pytest.raises(ValueError, match="depends on values"), database.reading() as db:
        fetch_columns(db, several)


def test_a_change_tells_how_many_rows_it_met(database):
    rename = rows_of(Installation).update().where(Installation.one == bindparam("which")).values(id="new")
    with database.writing() as db:
        insert_row(db, Installation, one=9, id="old")
        assert [change_rows(db, rename, which=which) for which in (8, 9)] == [0, 1]
        with pytest.raises(exc.NoResultFound, match="no disk"):
            update_row(db, Disk, uuid4(), size_gib=1)


def test_a_change_of_each_is_made_with_the_values_of_each_and_of_nothing_else(cloud):
    grow = (
        rows_of(Disk)
        .update()
        .where(rows_of(Disk).c.id == bindparam("which"))
        .values(size_gib=bindparam("size"))
    )
    ids = [UUID(int=number) for number in (7, 8, 9)]
    disks = [DISK | {"id": id, "name": f"data-{id.int}", "host_id": cloud.host_id} for id in ids]
    with cloud.database.writing() as db:
        insert_rows(db, Disk, disks)
        change_each(db, grow, [{"which": ids[0], "size": 5}, {"size": 6, "which": ids[2]}])
        assert [db.get_one(Disk, id).size_gib for id in ids] == [5, 3, 6]


def test_rows_that_are_added_together_are_stored_and_get_defaults_as_one_by_itself_does(cloud):
    disks = [DISK | {"id": UUID(int=number), "name": f"data-{number}"} for number in (7, 8)]
    with cloud.database.writing() as db:
        insert_rows(db, Disk, [disk | {"host_id": cloud.host_id} for disk in disks])
        rows = [db.get_one(Disk, disk["id"]) for disk in disks]
    assert [values_of(row) for row in rows] == disks
    assert [(row.reverting, row.vm_id) for row in rows] == [(False, None)] * 2


def test_a_change_of_none_changes_nothing(database):
    with database.writing() as db:
        insert_row(db, Installation, one=9, id="kept")
        change_each(db, rows_of(Installation).delete().where(Installation.one == bindparam("which")), [])
        assert db.get_one(Installation, 9).id == "kept"


def test_a_change_of_each_meets_what_was_added_as_an_object_just_before(database):
    rename = rows_of(Installation).update().where(Installation.one == bindparam("which")).values(id="new")
    with database.writing() as db:
        db.add(Installation(one=9, id="old"))
        change_each(db, rename, [{"which": 9}])
    with database.reading() as db:
        assert db.get_one(Installation, 9).id == "new"


def test_of_a_change_of_each_that_is_refused_half_way_nothing_is_left_and_no_value_told(database):
    rows = [{"one": one, "id": "top-secret"} for one in (8, 9, 9)]
    with pytest.raises(exc.IntegrityError) as refused, database.writing() as db:
        insert_rows(db, Installation, rows)
    assert "top-secret" not in str(refused.value)
    with database.reading() as db:
        assert db.get(Installation, 8) is None


def test_what_the_database_refuses_is_told_without_values(database):
    with pytest.raises(exc.IntegrityError) as refused, database.writing() as db:
        for _ in range(2):
            insert_row(db, Installation, one=9, id="top-secret")
    assert "top-secret" not in str(refused.value)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_connection_that_is_lost_is_told_so_and_not_used_again(database):
    with database.reading() as db:
        victim = db.scalar(text("SELECT pg_backend_pid()"))
        with database.writing() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": victim})
        with pytest.raises(UNREACHABLE) as lost:
            fetch_columns(db, select(bindparam("one", type_=Integer)), one=1)
    assert lost.value.connection_invalidated
    with database.reading() as db:
        assert fetch_columns(db, select(bindparam("one", type_=Integer)), one=1) == [(1,)]
