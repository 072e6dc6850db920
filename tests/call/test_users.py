"""Whose each key is."""

from uuid import UUID

import anyio
import pytest

from cumulet.call.users import MOST, Users

ANN = UUID(int=1)


@pytest.fixture
def users() -> Users:
    async def find(digest: bytes) -> UUID | None:
        return None if digest == b"nobody's" else ANN

    return Users(find)


def test_whose_a_key_is_is_kept_in_mind(users):
    for digest in (b"one", b"two"):
        assert users.known(digest) is None
        assert anyio.run(users.find, digest) == ANN
        assert users.known(digest) == ANN


def test_a_key_of_nobody_may_be_somebodys_the_next_time(users):
    assert anyio.run(users.find, b"nobody's") is None
    assert users.known(b"nobody's") is None


def test_of_very_many_keys_it_begins_anew(users):
    async def find_many():
        for number in range(MOST + 1):
            await users.find(str(number).encode())

    anyio.run(find_many)
    assert users.known(b"0") is None
    assert users.known(str(MOST).encode()) == ANN
