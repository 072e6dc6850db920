from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import bindparam, exc, insert, select, text
from tests.made_up import NOON

from cumulet import db as db_module
from cumulet import journal
from cumulet.db import UNREACHABLE, Database, Money, Timestamp, fetch_columns, fetch_copies, rows_of
from cumulet.events import EventName
from cumulet.hosts import Requirements, reserve
from cumulet.hosts.model import Installation
from cumulet.vm_record import Vm

TOY = UUID(int=7)
SOMEWHERE = timezone(timedelta(hours=5, minutes=30))


@pytest.fixture
def sqlite(tmp_path):
    """An empty file's."""
    database = Database(f"sqlite:///{tmp_path}/cumulet.db")
    yield database
    database.close()


def add_fact(db, text="a toy", at=NOON):
    journal.log_event(db, EventName.DISK_CREATED, at=at, project_id="default", subject_id=TOY, text=text)


def texts(db):
    return [fact.text for fact in journal.events_about(db, TOY)]


def test_what_a_writing_block_did_is_there_when_it_ends(database):
    with database.writing() as db:
        add_fact(db)
    with database.reading() as db:
        assert texts(db) == ["a toy"]


def test_what_a_writing_block_did_is_forgotten_when_it_raises(database):
    with pytest.raises(KeyError), database.writing() as db:
        add_fact(db)
        raise KeyError
    with database.reading() as db:
        assert texts(db) == []


def test_a_reading_block_sees_one_state_of_things(database):
    with database.reading() as looking:
        assert texts(looking) == []
        with database.writing() as db:
            add_fact(db)
        assert texts(looking) == []


def test_columns_are_read_as_they_are_in_this_transaction(database):
    facts = select(journal.Event.text, journal.Event.at).where(journal.Event.text == bindparam("text"))
    with database.writing() as db:
        assert fetch_columns(db, facts, text="a toy") == []
        add_fact(db)
        add_fact(db, text="another")
        assert fetch_columns(db, facts, text="a toy") == [("a toy", NOON)]


def test_a_reading_block_changes_nothing(database):
    with database.reading() as db:
        add_fact(db)
        db.flush()
    with database.reading() as db:
        assert texts(db) == []


def test_writers_take_turns_instead_of_failing(database):
    with database.writing() as db:
        db.add(Installation(one=9, id="0"))

    def count_up(_):
        with database.writing() as db:
            row = db.get_one(Installation, 9, with_for_update=True)
            row.id = str(int(row.id) + 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count_up, range(40)))
    with database.reading() as db:
        assert db.get_one(Installation, 9).id == "40"


def test_who_waits_for_a_turn_to_write_holds_no_connection_meanwhile(sqlite):
    def write():
        with sqlite.writing() as db:
            db.connection()

    with ThreadPoolExecutor(1) as pool, sqlite.writing() as db:
        db.connection()
        other = pool.submit(write)
        assert not wait([other], timeout=0.1).done
        assert sqlite.engine.pool.checkedout() == 1


def test_nobody_waits_for_a_turn_to_write_for_ever(sqlite, monkeypatch):
    monkeypatch.setattr(db_module, "SQLITE_BUSY_MS", 20)
    with sqlite.writing(), pytest.raises(UNREACHABLE, match="write for too long"), sqlite.writing():
        pass
    with sqlite.writing() as db:
        assert db.scalar(text("SELECT 1")) == 1


def test_an_instant_comes_back_in_utc(database):
    with database.writing() as db:
        add_fact(db, at=datetime(2026, 3, 1, 17, 30, tzinfo=SOMEWHERE))
    with database.reading() as db:
        (fact,) = journal.events_about(db, TOY)
    assert (fact.at, fact.at.tzinfo) == (NOON, UTC)


def test_an_instant_without_a_zone_is_a_mistake_of_ours(database):
    with pytest.raises(ValueError, match="time zone"), database.writing() as db:
        add_fact(db, at=datetime(2026, 3, 1))  # noqa: DTZ001 - the mistake


@pytest.mark.parametrize("amount", ["0.000116", "1E-9", "1000000.10"])
def test_an_amount_comes_back_exactly(amount):
    stored = Money().process_bind_param(Decimal(amount), None)
    assert Money().process_result_value(stored, None) == Decimal(amount)
    assert "E" not in stored
    assert Money().process_result_value(None, None) is Timestamp().process_result_value(None, None) is None


def test_an_error_of_the_database_repeats_no_values(database):
    with pytest.raises(exc.IntegrityError) as refused, database.writing() as db:
        db.add(Installation(one=9, id="top-secret"))
        db.flush()
        db.execute(insert(Installation).values(one=9, id="top-secret"))
    assert "top-secret" not in str(refused.value)


def test_a_row_cannot_belong_to_what_is_not_there(database):
    with pytest.raises(exc.IntegrityError), database.writing() as db:
        reserve(db, uuid4(), uuid4(), Requirements(vcpus=1, memory_mib=1, disk_gib=1))


def test_a_connection_that_is_given_back_after_the_door_was_closed_is_closed_too(open_database):
    database = open_database()
    with database.reading() as db:
        connection = db.connection().connection.driver_connection
        database.close()
        assert db.scalar(text("SELECT 1")) == 1
    with pytest.raises(Exception, match="closed"):
        connection.execute("SELECT 1")


def test_only_the_servers_user_reads_the_file_and_what_sqlite_puts_beside_it(tmp_path):
    path = tmp_path / "cumulet.db"
    for _ in range(2):
        path.touch(mode=0o644)
        path.chmod(0o644)
        database = Database(f"sqlite:///{path}")
        with database.writing() as db:
            db.execute(text("CREATE TABLE IF NOT EXISTS secret (word)"))
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        assert modes == dict.fromkeys(("cumulet.db", "cumulet.db-wal", "cumulet.db-shm"), 0o600)
        database.close()


def test_a_new_file_is_its_users_alone_from_the_first_moment(tmp_path):
    Database(f"sqlite:///{tmp_path}/cumulet.db").close()
    assert (tmp_path / "cumulet.db").stat().st_mode & 0o777 == 0o600


def test_the_version_names_the_state_that_the_newest_commit_left(open_database):
    here, elsewhere = open_database(), open_database()
    versions = [here.version(), here.version()]
    for door in (here, elsewhere, here):
        with door.writing() as db:
            add_fact(db)
        versions.append(here.version())
        with door.reading() as db:
            texts(db)
        versions.append(here.version())
    assert [versions.index(version) for version in versions] == [0, 0, 2, 2, 4, 4, 6, 6]


def test_what_is_not_committed_makes_no_version(open_database):
    here, elsewhere = open_database(), open_database()
    before = here.version()
    with pytest.raises(KeyError), elsewhere.writing() as db:
        add_fact(db)
        db.flush()
        assert here.version() == before
        raise KeyError


def test_a_copy_is_the_whole_row_and_nothing_that_is_changed_of_it_is_written(cloud):
    cloud.create(metadata={"a": "b"})
    named = select(rows_of(Vm)).where(Vm.name == bindparam("named"))
    with cloud.database.writing() as db:
        (copy,) = fetch_copies(db, Vm, named, named="hello")
        row = db.scalars(select(Vm)).one()
        assert copy is not row
        assert {key: value for key, value in vars(copy).items() if key[0] != "_"} == {
            key: value for key, value in vars(row).items() if key[0] != "_"
        }
        copy.memory_gib = 99
    assert cloud.row().memory_gib == 4
