"""Answers that are kept: never given once something was committed, never to another caller, never without bound."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import bindparam, exc, select
from tests.conftest import OpenDatabase
from tests.made_up import NOON, Clock
from tests.projects.people import add_user
from tests.waiting import PATIENCE_S

from cumulet.call import Calls
from cumulet.call.kept import OVERHEAD_BYTES, Answer, KeptAnswers, question
from cumulet.db import Database
from cumulet.errors import NotFound, Unauthenticated
from cumulet.operation import OPERATIONS
from cumulet.projects import Role, admit, write_uses
from cumulet.projects.access import digest_of
from cumulet.projects.model import ApiKey, Membership, Project, User
from cumulet.rest.at_hand import AtHand, question_of
from cumulet.rest.binding import ReceivedRequest
from cumulet.rest.endpoint import Endpoint

ROUNDS = 40
WRITERS = 3


def endpoint(name: str, database: Database, kept: KeptAnswers | None = None) -> Endpoint:
    calls = Calls(database, admit, provided={}, clock=lambda: NOON)
    return Endpoint(OPERATIONS[name], calls, kept or KeptAnswers())


def asked_by(name: str, *path: str, query: str = "") -> ReceivedRequest:
    key, asked = f"Bearer key-of-{name}", question(name, path, query)
    return ReceivedRequest(path, query=query, body=b"", authorization=key, origin="", question=asked)


def at_hand(endpoint: Endpoint, asked: ReceivedRequest) -> bytes | None:
    """What is given without a thread, before a route is looked for."""
    calls = Calls(endpoint._database, admit, provided={}, clock=lambda: NOON)
    return AtHand(None, endpoint._kept, calls).find(asked.question)


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

    def read_slowly(asked: ReceivedRequest) -> Answer:
        answer = read(asked)
        looks.append(answer)
        began.set()
        assert go_on.wait(PATIENCE_S)
        return answer

    monkeypatch.setattr(project, "_ask", read_slowly)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(project.answer, asked)
        assert began.wait(PATIENCE_S)
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
    assert at_hand(projects, asked_by("ann")) is None
    answer = projects.answer(asked_by("ann"))
    assert at_hand(projects, asked_by("ann")) == (answer if database.is_sqlite else None)


def test_nobody_gets_what_another_was_answered(database):
    add_person(database, "bob")
    projects = endpoint("list_projects", database)
    anns = projects.answer(asked_by("ann"))
    assert b"default" in anns
    assert at_hand(projects, asked_by("bob")) is None
    assert b"default" not in projects.answer(asked_by("bob"))
    with pytest.raises(Unauthenticated):
        projects.answer(asked_by("nobody"))


@pytest.mark.parametrize("header", [b"authorization", b"host"])
def test_a_question_with_a_header_twice_is_another_than_with_either(header):
    asked = [[], [b"a"], [b"b"], [b"a", b"b"], [b"b", b"a"], [b"a", b""], [b""]]
    scope = {"raw_path": b"/v1/projects", "query_string": b"", "scheme": "http"}
    questions = {question_of({**scope, "headers": [(header, one) for one in given]}) for given in asked}
    assert len(questions) == len(asked)


def test_a_revoked_key_stops_at_once(database):
    projects = endpoint("list_projects", database)
    projects.answer(asked_by("ann"))
    with database.writing() as db:
        db.query(ApiKey).filter(ApiKey.digest == digest_of("key-of-ann")).delete()
    assert at_hand(projects, asked_by("ann")) is None
    with pytest.raises(Unauthenticated):
        projects.answer(asked_by("ann"))


def test_an_answer_is_kept_no_longer_than_the_key_is_good_that_it_was_given_to(database):
    clock = Clock()
    kept = KeptAnswers(clock=clock)
    projects = Endpoint(OPERATIONS["list_projects"], Calls(database, admit, {}, clock), kept)
    with database.writing() as db:
        db.query(ApiKey).filter(ApiKey.digest == digest_of("key-of-ann")).one().expires_at = (
            clock.now + timedelta(seconds=10)
        )
    answer = projects.answer(asked_by("ann"))
    clock.advance(9)
    assert projects.answer(asked_by("ann")) == answer
    assert at_hand(projects, asked_by("ann")) == (answer if database.is_sqlite else None)
    clock.advance(1)
    assert at_hand(projects, asked_by("ann")) is None
    with pytest.raises(Unauthenticated, match="expired"):
        projects.answer(asked_by("ann"))


def test_keys_tell_when_they_were_last_used_by_one_writing_a_minute(database):
    """Recalled answers are uses too; what others do meanwhile is told with them."""
    add_person(database, "bob")
    clock = Clock()
    calls, kept = Calls(database, admit, {}, clock, write_uses), KeptAnswers(clock=clock)
    projects, ring = Endpoint(OPERATIONS["list_projects"], calls, kept), AtHand(None, kept, calls)
    written = []
    for seconds, name in ((0, "ann"), (10, "bob"), (20, "ann"), (59, "ann"), (61, "bob")):
        clock.now = NOON + timedelta(seconds=seconds)
        before = database.version()
        ring.find(asked_by(name).question) or projects.answer(asked_by(name))
        if database.version() != before:
            written.append(seconds)
    with database.reading() as db:
        of = select(ApiKey.last_used_at).where(ApiKey.digest == bindparam("digest"))
        used = {name: db.scalar(of, {"digest": digest_of(f"key-of-{name}")}) for name in ("ann", "bob")}
    assert written == [0, 61]
    assert used == {"ann": NOON + timedelta(seconds=59), "bob": NOON + timedelta(seconds=61)}


def test_no_server_overwrites_a_later_use_that_another_wrote(database):
    digest = digest_of("key-of-ann")
    for seconds in (50, 10):
        with database.writing() as db:
            write_uses(db, {digest: NOON + timedelta(seconds=seconds), digest_of("gone"): NOON})
    with database.reading() as db:
        used = db.scalars(select(ApiKey.last_used_at).where(ApiKey.digest == digest)).one()
    assert used == NOON + timedelta(seconds=50)


def test_a_use_that_cannot_be_written_is_written_the_next_time(database, monkeypatch):
    clock = Clock()
    calls = Calls(database, admit, {}, clock, write_uses)
    calls.uses.note(digest_of("key-of-ann"))
    with monkeypatch.context() as patch:
        patch.setattr(database, "writing", lambda: (_ for _ in ()).throw(exc.TimeoutError()))
        calls.uses.write_if_due()
    assert not calls.uses.is_due
    clock.advance(60)
    assert calls.uses.is_due
    calls.uses.write_if_due()
    assert not calls.uses.is_due


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
        answer = at_hand(project, asked) or project.answer(asked)
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
    questions = [question("get_project", str(number)) for number in range(4)]
    assert kept.find(questions[0], 1) is None
    for asking in questions[:3]:
        kept.keep(asking, 1, Answer(bytes(100), 100))
    assert kept.find(questions[0], 1) == Answer(bytes(100), 100)
    kept.keep(questions[3], 1, Answer(bytes(100), 100))
    assert [kept.find(asking, 1) is not None for asking in questions] == [True, False, True, True]
    kept.keep(questions[1], 1, Answer(b"long", 3 * OVERHEAD_BYTES + 301))
    assert [kept.find(asking, 1) for asking in questions] == [None] * 4


def test_an_answer_of_an_older_version_is_not_kept():
    kept = KeptAnswers()
    asking = question("list_projects")
    kept.find(asking, "new")
    kept.keep(asking, "old", Answer(b"old", 3))
    assert kept.find(asking, "new") is None
    assert kept.find(asking, "old") is None
