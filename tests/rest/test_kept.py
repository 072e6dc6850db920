"""Answers that are kept: never given once something was committed, never to another caller, never without bound."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.conftest import OpenDatabase
from tests.made_up import NOON
from tests.projects.people import add_user

from cumulet.call import Calls
from cumulet.call.kept import OVERHEAD_BYTES, KeptAnswers
from cumulet.db import Database
from cumulet.errors import NotFound, Unauthenticated
from cumulet.operation import OPERATIONS
from cumulet.projects import Role, admit
from cumulet.projects.access import digest_of
from cumulet.projects.model import ApiKey, Membership, Project, User
from cumulet.rest.binding import ReceivedRequest
from cumulet.rest.endpoint import Endpoint, question

ROUNDS = 40
WRITERS = 3


def endpoint(name: str, database: Database, kept: KeptAnswers | None = None) -> Endpoint:
    calls = Calls(database, admit, provided={}, clock=lambda: NOON)
    return Endpoint(OPERATIONS[name], calls, kept or KeptAnswers())


def asked_by(name: str, *path: str, query: str = "") -> ReceivedRequest:
    return ReceivedRequest(path, query=query, body=b"", authorization=f"Bearer key-of-{name}", origin="")


def add_person(database: Database, name: str, **roles: Role) -> None:
    """A user with a key, `key-of-NAME`."""
    with database.writing() as db:
        user = add_user(db, name, **roles)
        db.add(ApiKey(user_id=user.user_id, id="key", digest=digest_of(f"key-of-{name}"), created_at=NOON))


@pytest.fixture
def database(open_database) -> Database:
    database = open_database()
    add_person(database, "ann", default=Role.OWNER)
    return database


@pytest.fixture
def counted(database, monkeypatch) -> list[object]:
    """What was read of the database, and not recalled."""
    looks: list[object] = []
    reading = database.reading
    monkeypatch.setattr(database, "reading", lambda: looks.append(None) or reading())
    return looks


def test_the_same_question_is_read_once_until_a_commit(database, counted):
    projects = endpoint("list_projects", database)
    answers = {projects.answer(asked_by("ann")) for _ in range(5)}
    assert (len(answers), len(counted)) == (1, 1)


def test_those_who_wait_for_the_same_share_a_reading_that_began_after_they_came(database, monkeypatch):
    """Whoever came while it was read does not get that: something may have been committed before they came."""
    kept = KeptAnswers()
    project = endpoint("get_project", database, kept)
    asked = asked_by("ann", "default")
    began, go_on, looks = threading.Event(), threading.Event(), []
    read = project._ask

    def read_slowly(asked: ReceivedRequest) -> bytes:
        answer = read(asked)
        looks.append(answer)
        began.set()
        assert go_on.wait(20)
        return answer

    monkeypatch.setattr(project, "_ask", read_slowly)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(project.answer, asked)
        assert began.wait(20)
        rename(database, "late")
        others = [threads.submit(project.answer, asked) for _ in range(3)]
        while next(iter(kept._turns.values())).callers < 4:
            pass
        go_on.set()
        assert b'"late"' not in first.result()
        assert all(b'"late"' in other.result() for other in others)
    assert (len(looks), kept._turns) == (2, {})


def test_another_question_is_read_for_itself(database, counted):
    kept = KeptAnswers()
    endpoint("list_projects", database, kept).answer(asked_by("ann"))
    endpoint("get_project", database, kept).answer(asked_by("ann", "default"))
    with pytest.raises(NotFound):
        endpoint("get_project", database, kept).answer(asked_by("ann", "other"))
    assert len(counted) == 3


def test_what_asks_the_clock_is_never_kept(database):
    assert not OPERATIONS["monitor_vm"].lasts_until_a_commit
    assert not OPERATIONS["create_project"].lasts_until_a_commit
    assert OPERATIONS["get_vm"].lasts_until_a_commit


def test_a_kept_answer_is_at_hand_where_the_version_is(database):
    projects = endpoint("list_projects", database)
    assert projects.at_hand(asked_by("ann")) is None
    answer = projects.answer(asked_by("ann"))
    assert projects.at_hand(asked_by("ann")) == (answer if database.is_sqlite else None)


def test_nobody_gets_what_another_was_answered(database):
    add_person(database, "bob")
    projects = endpoint("list_projects", database)
    anns = projects.answer(asked_by("ann"))
    assert b"default" in anns
    assert projects.at_hand(asked_by("bob")) is None
    assert b"default" not in projects.answer(asked_by("bob"))
    with pytest.raises(Unauthenticated):
        projects.answer(asked_by("nobody"))


def test_a_revoked_key_stops_at_once(database):
    projects = endpoint("list_projects", database)
    projects.answer(asked_by("ann"))
    with database.writing() as db:
        db.query(ApiKey).filter(ApiKey.digest == digest_of("key-of-ann")).delete()
    assert projects.at_hand(asked_by("ann")) is None
    with pytest.raises(Unauthenticated):
        projects.answer(asked_by("ann"))


def test_a_member_who_was_sent_away_sees_nothing_more(database):
    project = endpoint("get_project", database)
    project.answer(asked_by("ann", "default"))
    with database.writing() as db:
        user = db.query(User).filter(User.email == "ann@example.org").one()
        db.delete(db.get_one(Membership, (user.id, "default")))
    with pytest.raises(NotFound):
        project.answer(asked_by("ann", "default"))


def test_what_was_read_before_a_commit_is_not_kept_after_it(database, monkeypatch):
    """The answer is read from an old snapshot; a commit comes before it is encoded."""
    project = endpoint("get_project", database)
    encode = project._encode

    def encode_late(answer: object) -> bytes:
        rename(database, "late")
        return encode(answer)

    monkeypatch.setattr(project, "_encode", encode_late)
    assert b'"late"' not in project.answer(asked_by("ann", "default"))
    monkeypatch.setattr(project, "_encode", encode)
    assert b'"late"' in project.answer(asked_by("ann", "default"))


def rename(database: Database, name: str) -> None:
    with database.writing() as db:
        db.get_one(Project, "default").billing_account_id = name


def test_no_answer_outlives_a_commit_of_any_process(open_database: OpenDatabase, database):
    """Writers through doors of their own, as other processes have; each asks after its commit what everybody asks."""
    for number in range(WRITERS):
        add_person(database, f"writer{number}", default=Role.VIEWER)
    project = endpoint("get_project", database)
    doors = [open_database() for _ in range(WRITERS)]
    counter = threading.Lock()
    committed = 0
    stale: list[tuple[int, int]] = []

    def shown() -> int:
        asked = asked_by("ann", "default")
        answer = project.at_hand(asked) or project.answer(asked)
        return int(answer.partition(b'"billingAccountId":"')[2].partition(b'"')[0])

    def write(door: Database) -> None:
        nonlocal committed
        for _ in range(ROUNDS):
            with counter:
                rename(door, str(committed + 1))
                committed += 1
            look()

    def look() -> None:
        before = committed
        if (seen := shown()) < before:
            stale.append((seen, before))

    rename(database, "0")
    with ThreadPoolExecutor(2 * WRITERS) as threads:
        writing = [threads.submit(write, door) for door in doors]
        while not all(one.done() for one in writing):
            look()
        for one in writing:
            one.result()
    assert (stale, shown()) == ([], WRITERS * ROUNDS)


def test_kept_answers_are_bounded_and_the_longest_unasked_goes_first():
    kept = KeptAnswers(most_bytes=3 * (OVERHEAD_BYTES + 100))
    questions = [question(OPERATIONS["get_project"], asked_by("ann", str(number))) for number in range(4)]
    assert kept.find(questions[0], 1) is None
    for asking in questions[:3]:
        kept.keep(asking, 1, bytes(100))
    assert kept.find(questions[0], 1) == bytes(100)
    kept.keep(questions[3], 1, bytes(100))
    assert [kept.find(asking, 1) is not None for asking in questions] == [True, False, True, True]
    kept.keep(questions[1], 1, bytes(3 * OVERHEAD_BYTES + 301))
    assert [kept.find(asking, 1) for asking in questions] == [None] * 4


def test_an_answer_of_an_older_version_is_not_kept():
    kept = KeptAnswers()
    asking = question(OPERATIONS["list_projects"], asked_by("ann"))
    kept.find(asking, "new")
    kept.keep(asking, "old", b"old")
    assert kept.find(asking, "new") is None
    assert kept.find(asking, "old") is None
