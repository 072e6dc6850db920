import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, func, select
from tests.projects.conftest import NOW

from cumulet.db import Database, Row
from cumulet.errors import Invalid, Unauthenticated
from cumulet.operation import Caller
from cumulet.projects import CloudRole, Role, authenticate, bootstrap, find_caller
from cumulet.projects.key_operations import delete_api_key
from cumulet.projects.model import ApiKey, User, UserState


class Died(BaseException):
    """The process ends here."""


def caller_of(database: Database, key_file: Path) -> Caller:
    with database.reading() as db:
        return authenticate(db, key_file.read_text().strip(), now=NOW)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "admin.key"


def test_the_first_start_gives_the_owner_a_project_and_a_key_that_only_he_can_read(
    database: Database, tmp_path: Path, key_file: Path, now: datetime
) -> None:
    bootstrap(database, tmp_path, now)
    caller = caller_of(database, key_file)
    with database.reading() as db:
        seen = find_caller(db, caller.key_digest, now=now, project_id="default")
        assert (seen.role, seen.cloud_role) == (Role.OWNER, CloudRole.OPERATOR)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.glob("admin*")} == {"admin.key"}


def test_further_starts_change_nothing(
    database: Database, tmp_path: Path, key_file: Path, now: datetime
) -> None:
    bootstrap(database, tmp_path, now)
    key = key_file.read_text()
    bootstrap(database, tmp_path, now)
    assert key_file.read_text() == key
    with database.reading() as db:
        assert db.scalar(select(func.count()).select_from(ApiKey)) == 1


def die_before_commit(patch: pytest.MonkeyPatch) -> None:
    def die(_connection: Connection) -> None:
        event.remove(Engine, "commit", die)
        raise Died

    event.listen(Engine, "commit", die)


def die_after_commit(patch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def die_at_the_last_one(path: Path, target: Path) -> Path:
        if target.name == "admin.key":
            raise Died
        return rename(path, target)

    patch.setattr(Path, "rename", die_at_the_last_one)


@pytest.mark.parametrize("die", [die_before_commit, die_after_commit])
def test_a_start_that_dies_is_finished_by_the_next(
    database: Database,
    tmp_path: Path,
    key_file: Path,
    now: datetime,
    die: Callable[[pytest.MonkeyPatch], None],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        die(patch)
        with pytest.raises(Died):
            bootstrap(database, tmp_path, now)
    assert not key_file.exists()
    key = (tmp_path / "admin.key.new").read_text()
    bootstrap(database, tmp_path, now)
    assert key_file.read_text() == key
    assert caller_of(database, key_file).email == "owner@localhost"


def test_a_half_written_key_is_written_anew(
    database: Database, tmp_path: Path, key_file: Path, now: datetime
) -> None:
    (tmp_path / "admin.key.part").write_text("cumulet_ha")
    bootstrap(database, tmp_path, now)
    assert caller_of(database, key_file)


def test_a_new_database_takes_the_key_that_is_there(
    database: Database, tmp_path: Path, key_file: Path, now: datetime
) -> None:
    bootstrap(database, tmp_path, now)
    key = key_file.read_text()
    Row.metadata.drop_all(database.engine)
    Row.metadata.create_all(database.engine)
    bootstrap(database, tmp_path, now)
    assert key_file.read_text() == key
    assert caller_of(database, key_file)


def test_an_owner_who_lost_his_key_file_gets_a_further_key(
    database: Database, tmp_path: Path, key_file: Path, now: datetime
) -> None:
    bootstrap(database, tmp_path, now)
    first = caller_of(database, key_file)
    key_file.unlink()
    with database.writing() as db:
        user = db.get_one(User, first.user_id)
        user.state, user.cloud_role = UserState.SUSPENDED, CloudRole.NONE
    bootstrap(database, tmp_path, now)
    again = caller_of(database, key_file)
    assert (again.user_id, again.cloud_role) == (first.user_id, CloudRole.OPERATOR)


def test_a_revoked_key_stays_revoked(
    database: Database, tmp_path: Path, key_file: Path, now: datetime
) -> None:
    bootstrap(database, tmp_path, now)
    with database.writing() as db:
        caller = authenticate(db, key_file.read_text().strip(), now=NOW)
        delete_api_key(db, caller, now, name=db.scalars(select(ApiKey.id)).one())
    bootstrap(database, tmp_path, now)
    with pytest.raises(Unauthenticated):
        caller_of(database, key_file)


@pytest.mark.parametrize("text", ["", "secret-of-mine", "cumulet_short"])
def test_a_key_file_without_a_key_stops_the_start_and_is_not_repeated(
    database: Database, tmp_path: Path, key_file: Path, now: datetime, text: str
) -> None:
    key_file.write_text(text)
    with pytest.raises(Invalid, match=r"admin\.key does not hold an API key; remove it") as refused:
        bootstrap(database, tmp_path, now)
    assert not text or text not in refused.value.message
