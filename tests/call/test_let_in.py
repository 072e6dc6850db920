"""Who was let in lately is looked at under the lock alone, and whoever may not any more is refused there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, update
from tests.made_up import PROJECT, Asked
from tests.projects.people import add_user

from cumulet.call import Call, Calls
from cumulet.call.let_in import MOST, LetIn
from cumulet.errors import CumuletError, Forbidden, Invalid, NotFound, Unauthenticated
from cumulet.networks import Network
from cumulet.networks.wire import CreateNetwork
from cumulet.operation import OPERATIONS
from cumulet.permission import Role
from cumulet.projects import admit
from cumulet.projects.model import ApiKey, Membership, User, UserState

WAYS_OUT: dict[str, tuple[Callable[[Any], Any], type[CumuletError]]] = {
    "suspended": (lambda _: update(User).values(state=UserState.SUSPENDED), Unauthenticated),
    "their key revoked": (lambda _: delete(ApiKey), Unauthenticated),
    "their key expired": (lambda now: update(ApiKey).values(expires_at=now), Unauthenticated),
    "their key only reads": (lambda _: update(ApiKey).values(reads_only=True), Forbidden),
    "a viewer by now": (lambda _: update(Membership).values(role=Role.VIEWER), Forbidden),
    "not a member": (lambda _: delete(Membership), NotFound),
}


class Editor:
    """Someone who may make networks, and the one server that they ask for them."""

    def __init__(self, cloud, monkeypatch):
        self.cloud = cloud
        self.looks = self.locks = 0
        with cloud.database.writing() as db:
            self.id = add_user(db, "editor", **{PROJECT: Role.EDITOR}).user_id
        calls = Calls(cloud.database, self._admit, cloud.provided, cloud.clock)
        self._call = Call(OPERATIONS["create_network"], calls)
        self._writing = cloud.database.writing
        monkeypatch.setattr(cloud.database, "writing", self._counted)

    def _admit(self, *asked, **how):
        self.looks += 1
        return admit(*asked, **how)

    @contextmanager
    def _counted(self):
        self.locks += 1
        with self._writing() as db:
            yield db

    def make(self, number: int, called: str = "", asked: type[Asked] = Asked) -> bytes:
        data = CreateNetwork(data_center_id="local", id=f"net-{number}", cidr_prefix=f"10.{number}.0.0/24")
        request = asked({"project_id": PROJECT, "data": data}, called=called, api_key="editor")
        return msgspec.json.encode(self._call.answer(request))

    def counted(self, **how) -> tuple[int, int]:
        """How often one who is refused was looked at, and how often the lock was taken."""
        before = self.looks, self.locks
        with pytest.raises(CumuletError):
            self.make(9, **how)
        return self.looks - before[0], self.locks - before[1]

    def lose(self, way: str) -> type[CumuletError]:
        statement, refusal = WAYS_OUT[way]
        change = statement(self.cloud.clock())
        mine = change.table.c["id" if change.table.name == "user" else "user_id"] == self.id
        with self._writing() as db:
            db.execute(change.where(mine))
        return refusal


class Broken(Asked):
    """A request that cannot be understood."""

    def arguments(self):
        raise Invalid("broken")


@pytest.fixture
def editor(cloud, monkeypatch):
    return Editor(cloud, monkeypatch)


def test_who_was_let_in_lately_is_looked_at_under_the_lock_alone(editor):
    editor.make(1)
    assert (editor.looks, editor.locks) == (2, 1)
    editor.make(2)
    assert (editor.looks, editor.locks) == (3, 2)


@pytest.mark.parametrize("way", WAYS_OUT)
def test_who_may_not_any_more_is_refused_at_once_and_takes_the_lock_no_second_time(editor, way):
    editor.make(1)
    refusal = editor.lose(way)
    with pytest.raises(refusal):
        editor.make(2)
    assert editor.cloud.count(Network) == 1
    assert editor.counted() == (1, 0)


@pytest.mark.parametrize("way", WAYS_OUT)
def test_what_was_done_for_them_is_answered_again_only_to_a_key_that_is_good(editor, way):
    done = editor.make(1, "mine")
    refusal = editor.lose(way)
    if refusal is Unauthenticated:
        for number in (1, 2):
            with pytest.raises(Unauthenticated):
                editor.make(number, "mine")
    else:
        assert editor.make(1, "mine") == done
    assert editor.cloud.count(Network) == 1


def test_who_may_not_any_more_is_told_so_before_what_is_wrong_with_what_they_sent(editor):
    editor.make(1)
    with pytest.raises(Invalid, match="broken"):
        editor.make(2, asked=Broken)
    refusal = editor.lose("suspended")
    with pytest.raises(refusal):
        editor.make(2, asked=Broken)


def test_not_more_are_kept_in_mind_than_there_is_room_for():
    let_in = LetIn()
    for number in range(MOST + 1):
        let_in.note((b"key", "make", str(number)))
    assert [(b"key", "make", str(number)) in let_in for number in (0, MOST)] == [False, True]
