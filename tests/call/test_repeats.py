"""Requests with an Idempotency-Key: whatever happens to one, and however often it is sent, it is done once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from sqlalchemy import delete, func, select, update
from tests.call.changes import CHANGES, gpu_cloud, with_bob
from tests.crash.faults import FaultyDatabase, Point, Where, arm
from tests.made_up import PROJECT, Asked, Cloud, vm_request
from tests.projects.people import add_user
from tests.toy_reconcilers import Crash

from cumulet.call import Call, Calls, repeats
from cumulet.call.repeats import AnsweredRequest
from cumulet.db import Database, Row
from cumulet.errors import AlreadyExists, Exhausted, NotFound, Unauthenticated, Unavailable
from cumulet.journal import Event
from cumulet.operation import OPERATIONS, Access, Operation
from cumulet.projects import admit, digest_of
from cumulet.projects import key_operations as keys
from cumulet.projects import operations as projects
from cumulet.projects import user_operations as users
from cumulet.projects.model import ApiKey
from cumulet.projects.wire import CreateProject, GenerateApiKey
from cumulet.reconcile import Due, Kind, wake
from cumulet.vm_record import Vm
from cumulet.vms import operations as verbs
from cumulet.wire import Empty

MANY = 10
API_KEY = "cumulet_owners"
CHANGING = sorted(
    name
    for name, one in OPERATIONS.items()
    if not one.reads_only and one.access is not Access.OPEN and name != "delete_user"
)
"""All but what asks for no key, and what ends the key that it is asked with."""


@pytest.fixture
def cloud(database, tmp_path):
    cloud = gpu_cloud(database, tmp_path)
    with database.writing() as db:
        db.execute(update(ApiKey).values(digest=digest_of(API_KEY)))
    return cloud


def asking(
    cloud: Cloud,
    operation: Operation,
    sent: Any,
    key: str,
    database: Database | None = None,
    api_key: str = API_KEY,
) -> Callable[[], bytes]:
    """How a client asks for something under a key, as often as it likes; gives the answer as it is sent."""
    call = Call(operation, Calls(database or cloud.database, admit, cloud.provided, cloud.clock))
    asked = Asked(dict(sent), called=key, api_key=api_key)
    return lambda: msgspec.json.encode(call.answer(asked))


def ask(cloud: Cloud, verb: Callable[..., Any], key: str, **sent: Any) -> bytes:
    return asking(cloud, OPERATIONS[verb.__name__], sent, key)()


def effect(cloud: Cloud) -> dict[str, Any]:
    """How many rows of each kind there are, but for tries at passwords, what the journal tells, and how often what was woken."""
    with cloud.database.reading() as db:
        counts = {
            table.name: db.scalar(select(func.count()).select_from(table))
            for table in Row.metadata.sorted_tables
            if table.name != "password_try"
        }
        told = sorted(db.scalars(select(Event.event)))
        woken = sorted(f"{due.kind} {due.wakes}" for due in db.scalars(select(Due)))
    return counts | {"told": told, "woken": woken}


def at_once(asks: Sequence[Callable[[], bytes]]) -> set[bytes]:
    with ThreadPoolExecutor(len(asks)) as pool:
        return {one.result() for one in [pool.submit(ask) for ask in asks]}


def test_each_operation_that_changes_something_is_tried():
    assert {OPERATIONS[name].function.__name__ for name in CHANGING} == CHANGES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGING)
def test_what_is_sent_ten_times_at_once_to_two_servers_is_done_once(name, cloud, open_database):
    operation, runs = OPERATIONS[name], []

    def counted(**given: Any) -> object:
        runs.append(name)
        return operation.function(**given)

    change = CHANGES[operation.function.__name__]
    change.before(cloud)
    doors = itertools.cycle([cloud.database, open_database()])
    sent, watched = change.sent(cloud), replace(operation, function=counted)
    asks = [asking(cloud, watched, sent, "mine", door) for door in itertools.islice(doors, MANY)]
    (answer,) = at_once(asks)
    once = effect(cloud)
    assert at_once(asks) == {answer}
    assert (effect(cloud), runs, once["answered_request"]) == (once, [name], 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGING)
def test_wherever_it_is_hit_it_is_done_once_and_never_refused_when_it_is_sent_again(name, cloud):
    """The client who got no answer sends it again; it was done when the fault came after the commit."""
    operation = OPERATIONS[name]
    change = CHANGES[operation.function.__name__]
    change.before(cloud)
    cloud.database = FaultyDatabase(cloud.database.url)
    again = asking(cloud, operation, change.sent(cloud), "mine")
    untouched = effect(cloud)
    for dies in (False, True):
        hit(cloud, again, operation, after=False, dies=dies)
        assert effect(cloud) == untouched
    hit(cloud, again, operation, after=True, dies=True)
    done = effect(cloud)
    assert done["answered_request"] == 1
    assert again() == again()
    assert effect(cloud) == done
    cloud.database.close()


def hit(cloud: Cloud, ask: Callable[[], bytes], operation: Operation, *, after: bool, dies: bool) -> None:
    """Hit the commit of what is asked for; who tries a password has that counted before."""
    commit = 2 if "tries" in operation.provided else 1
    arm(cloud, Point(Where.COMMIT, commit, after=after, dies=dies))
    with pytest.raises((Crash, Unavailable)):
        ask()


def test_another_request_under_the_same_key_is_refused(cloud):
    ask(cloud, verbs.create_vm, "mine", project_id=PROJECT, data=vm_request())
    others = {
        "other content": (verbs.create_vm, {"project_id": PROJECT, "data": vm_request(vcpus=1)}),
        "another operation": (verbs.stop_vm, {"project_id": PROJECT, "id": "hello"}),
    }
    for verb, sent in others.values():
        with pytest.raises(
            AlreadyExists, match="'mine' was sent with another request, a create_vm"
        ) as refused:
            ask(cloud, verb, "mine", **sent)
        assert refused.value.details[0]["reason"] == "IDEMPOTENCY_KEY_REUSED"


def test_another_caller_has_keys_of_their_own(cloud):
    data = GenerateApiKey()
    mine = ask(cloud, keys.generate_api_key, "same", data=data)
    with cloud.database.writing() as db:
        add_user(db, "other")
    theirs = asking(cloud, OPERATIONS["generate_api_key"], {"data": data}, "same", api_key="other")
    assert theirs() != mine


def test_who_may_no_more_gets_what_they_were_answered_and_nothing_else(cloud):
    ask(cloud, projects.create_project, "one", data=CreateProject(id="other"))
    deleted = ask(cloud, projects.delete_project, "two", id="other")
    assert ask(cloud, projects.delete_project, "two", id="other") == deleted
    with pytest.raises(NotFound):
        ask(cloud, projects.delete_project, "three", id="other")
    with pytest.raises(Unauthenticated):
        asking(cloud, OPERATIONS["delete_project"], {"id": "other"}, "two", api_key="nobody's")()


def test_who_ends_their_own_key_is_told_once(cloud):
    with_bob(cloud)
    assert ask(cloud, users.delete_user, "mine") == b"{}"
    done = effect(cloud)
    with pytest.raises(Unauthenticated):
        ask(cloud, users.delete_user, "mine")
    assert effect(cloud) == done


def test_what_was_refused_is_tried_anew(cloud):
    stop = {"project_id": PROJECT, "id": "hello"}
    with pytest.raises(NotFound):
        ask(cloud, verbs.stop_vm, "mine", **stop)
    cloud.running()
    assert ask(cloud, verbs.stop_vm, "mine", **stop) == b"{}"
    assert cloud.count(AnsweredRequest) == 1


def test_what_only_looks_is_looked_at_anew(cloud):
    data = vm_request(validate_only=True)
    ask(cloud, verbs.create_vm, "mine", project_id=PROJECT, data=data)
    assert (cloud.count(AnsweredRequest), cloud.count(Vm)) == (0, 0)


def test_no_answer_can_be_read_by_who_has_the_database_alone(cloud):
    answer = ask(cloud, keys.generate_api_key, "mine", data=GenerateApiKey(apikey_id="other"))
    with cloud.database.reading() as db:
        kept = db.scalars(select(AnsweredRequest)).one()
    assert b"other" not in kept.answer
    assert repeats.cipher(API_KEY, kept.salt).decrypt(repeats.NONCE, kept.answer, None) == answer
    with pytest.raises(InvalidTag):
        repeats.cipher("another key", kept.salt).decrypt(repeats.NONCE, kept.answer, None)


def test_answers_go_with_their_api_key(cloud):
    ask(cloud, keys.generate_api_key, "mine", data=GenerateApiKey(apikey_id="other"))
    with cloud.database.writing() as db:
        db.execute(delete(ApiKey))
    assert cloud.count(AnsweredRequest) == 0


def test_answers_are_kept_for_a_day(cloud):
    data = CreateProject(id="other")
    ask(cloud, projects.create_project, "mine", data=data)
    with cloud.database.writing() as db:
        wake(db, Kind.ANSWERS, UUID(int=0), now=cloud.clock())
    cloud.pass_time(24 * 3600 - 1)
    assert ask(cloud, projects.create_project, "mine", data=data)
    cloud.pass_time(3602)
    assert cloud.count(AnsweredRequest) == 0
    with pytest.raises(AlreadyExists, match="there is already a project"):
        ask(cloud, projects.create_project, "mine", data=data)


def test_so_many_answers_of_a_caller_are_kept_and_no_more(cloud, monkeypatch):
    monkeypatch.setattr(repeats, "MOST_KEPT", 2)
    for number in range(2):
        ask(cloud, keys.generate_api_key, str(number), data=GenerateApiKey())
    with pytest.raises(Exhausted, match="the answers to 2 requests"):
        ask(cloud, keys.generate_api_key, "2", data=GenerateApiKey())
    assert ask(cloud, keys.generate_api_key, "1", data=GenerateApiKey())


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_who_sends_it_again_meanwhile_does_not_wait_for_ever(cloud, monkeypatch):
    monkeypatch.setattr(repeats, "PATIENCE_MS", 50)

    def slow(**_: Any) -> Empty:
        with pytest.raises(Unavailable, match="still in progress"):
            asking(cloud, OPERATIONS["stop_vm"], stop, "mine")()
        return Empty()

    stop = {"project_id": PROJECT, "id": "hello"}
    assert asking(cloud, replace(OPERATIONS["stop_vm"], function=slow), stop, "mine")() == b"{}"
