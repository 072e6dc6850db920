"""Whose each key is."""

from uuid import UUID

from cumulet.call.users import MOST, Users
from cumulet.permission import Caller


def of_user(number: int, key: bytes) -> Caller:
    return Caller(user_id=UUID(int=number), email="ann@example.org", key_digest=key)


def test_keys_are_known_by_their_users_once_they_were_let_in():
    users = Users()
    for key in (b"one", b"two"):
        users.note(of_user(1, key))
    assert users.of(b"one") == users.of(b"two") == UUID(int=1)
    assert users.of(b"three") is None


def test_of_very_many_keys_it_begins_anew():
    users = Users()
    for number in range(MOST + 1):
        users.note(of_user(1, str(number).encode()))
    assert users.of(b"0") is None
    assert users.of(str(MOST).encode()) == UUID(int=1)
