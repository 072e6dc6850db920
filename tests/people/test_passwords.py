"""Signing in with a password, and what keeps others from it; on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyotp
import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError
from cryptography.fernet import Fernet
from sqlalchemy import select
from tests.made_up import Asked

from cumulet.call import Call, Calls
from cumulet.db import Row
from cumulet.errors import Forbidden, Invalid, NotFound, Refused, TooFast, Unauthenticated
from cumulet.operation import OPERATIONS
from cumulet.projects import admit, authenticate, passwords, seal_secrets, session_key, tries
from cumulet.projects import password_operations as verbs
from cumulet.projects import user_operations as users
from cumulet.projects.guesses import FORGOTTEN_S, FREE
from cumulet.projects.key_operations import generate_api_key
from cumulet.projects.model import Password, PasswordTry
from cumulet.projects.password_wire import (
    AddSecondFactor,
    ChangePassword,
    Join,
    RemoveSecondFactor,
    SignIn,
)
from cumulet.projects.people_wire import AcceptInvitation, InviteUser
from cumulet.projects.session_operations import list_sessions
from cumulet.projects.wire import GenerateApiKey
from cumulet.sealing import KEY_FILE, Seal

ANN, RIGHT, OTHER = "ann@example.org", "correct horse battery", "staple under the moon"


class Door:
    """One server, as somebody without a key calls it."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.calls = Calls(cloud.database, admit, cloud.provided, cloud.clock)
        self.address = "192.0.2.7"

    def ask(self, verb, data, key=""):
        asked = Asked({"data": data}, api_key=key, address=self.address)
        return Call(OPERATIONS[verb.__name__], self.calls).answer(asked)

    def sign_in(self, password=RIGHT, code="", email=ANN):
        return self.ask(verbs.sign_in, SignIn(email, password, code))

    def join(self, code, password=RIGHT):
        return self.ask(verbs.join, Join(code, password, "Ann", "Lee"))


@pytest.fixture
def door(cloud):
    return Door(cloud)


def invited(cloud):
    return cloud.call(users.invite_user, data=InviteUser(ANN)).invitation


def caller_of(cloud, opened):
    with cloud.database.reading() as db:
        return authenticate(db, session_key(opened.session), now=cloud.clock())


@pytest.fixture
def ann(cloud, door):
    """Who has joined with a password, in the session that this gave."""
    return caller_of(cloud, door.join(invited(cloud).code))


@pytest.fixture
def secret(cloud, ann):
    """The secret of their authenticator."""
    secret = pyotp.random_base32()
    add = AddSecondFactor(RIGHT, secret, pyotp.TOTP(secret).at(cloud.clock()))
    cloud.recovery_codes = cloud.call(verbs.add_second_factor, ann, data=add).recovery_codes
    cloud.clock.advance(60)
    return secret


def test_who_is_invited_joins_with_a_password_and_signs_in_with_it(cloud, door):
    invitation = invited(cloud)
    assert invitation.url == f"http://cloud.example/join#{invitation.code}"
    joined = caller_of(cloud, door.join(invitation.code))
    shown = cloud.call(users.get_user, id=ANN)
    assert (joined.email, shown.state, shown.first_name) == (ANN, "ACTIVE", "Ann")
    assert caller_of(cloud, door.sign_in(email="Ann@Example.org")).user_id == joined.user_id
    (first, _) = cloud.call(list_sessions, joined).sessions
    assert first.opened_with == "a password"
    with pytest.raises(Invalid, match="code: "):
        door.join(invitation.code)


@pytest.mark.parametrize("weak", ["short", "aaaaaaaaaaaaaaaa", "x" * 201, "ANN@example.org"])
def test_a_weak_password_is_refused_and_not_repeated_and_the_invitation_stays_good(cloud, door, weak):
    code = invited(cloud).code
    with pytest.raises(Invalid, match=r"password: '\(not shown\)' is not accepted") as refused:
        door.join(code, weak)
    assert weak not in refused.value.message
    assert door.join(code).session


def test_all_that_is_wrong_is_refused_with_the_same_words(door, ann, secret, cloud):
    code = pyotp.TOTP(secret).at(cloud.clock())
    wrong = [(OTHER, code, ANN), (RIGHT, "000000", ANN), (RIGHT, "", ANN), (RIGHT, code, "bob@example.org")]
    said = set()
    for password, number, email in wrong:
        with pytest.raises(Forbidden) as refused:
            door.sign_in(password, number, email)
        said.add(refused.value.message)
    assert len(said) == 1
    assert door.sign_in(code=code).session


def test_a_code_is_good_once_and_for_half_a_minute_before_and_after(cloud, door, secret):
    totp, now = pyotp.TOTP(secret), cloud.clock()
    late, early = totp.at(now - timedelta(seconds=30)), totp.at(now + timedelta(seconds=30))
    assert door.sign_in(code=early).session
    for used in (early, late, totp.at(now + timedelta(seconds=90))):
        with pytest.raises(Forbidden):
            door.sign_in(code=used)


def test_each_recovery_code_lets_in_once_without_the_authenticator(cloud, door, ann, secret):
    first, second, *others = cloud.recovery_codes
    assert door.sign_in(code=first.upper()).session
    with pytest.raises(Forbidden):
        door.sign_in(code=first)
    assert door.sign_in(code=second).session
    assert cloud.call(verbs.get_sign_in, ann).recovery_codes_left == len(others)


def test_a_copy_of_the_database_makes_no_codes(cloud, secret):
    with cloud.database.reading() as db:
        rows = [tuple(row) for table in Row.metadata.sorted_tables for row in db.execute(select(table))]
    assert secret not in repr(rows)


def test_who_has_no_password_is_told_so_after_as_much_work_as_a_wrong_one_takes():
    hasher = PasswordHasher()
    nobodys = passwords.nobodys_hash(hasher)
    assert extract_parameters(nobodys) == extract_parameters(hasher.hash(RIGHT))
    with pytest.raises(VerifyMismatchError):
        hasher.verify(nobodys, RIGHT)


def test_a_stranger_has_nobody_compute_a_hash(cloud, door, monkeypatch):
    hashed = []
    monkeypatch.setattr(verbs, "hash_new", lambda password: hashed.append(password) or "hash")
    with pytest.raises(Invalid, match="code: "):
        door.join("0" * 64)
    assert hashed == []
    door.join(invited(cloud).code)
    assert hashed == [RIGHT]


def test_secrets_of_an_earlier_version_are_sealed_at_the_start_and_all_anew_when_there_is_a_new_key(
    cloud, door, ann, secret, tmp_path
):
    with cloud.database.writing() as db:
        db.get_one(Password, ann.user_id).totp_secret = secret
    key_file, kept = tmp_path / KEY_FILE, set()
    for _ in range(2):
        key_file.write_bytes(Fernet.generate_key() + b"\n" + key_file.read_bytes())
        with cloud.database.writing() as db:
            seal_secrets(db, Seal(tmp_path))
        key_file.write_bytes(key_file.read_bytes().splitlines()[0])
        with cloud.database.reading() as db:
            kept.add(db.get_one(Password, ann.user_id).totp_secret)
        cloud.clock.advance(60)
        assert door.sign_in(code=pyotp.TOTP(secret).at(cloud.clock())).session
    assert (len(kept), secret in kept) == (2, False)


def test_who_has_lost_the_key_file_lets_in_by_recovery_codes_alone(cloud, door, secret, tmp_path):
    (tmp_path / KEY_FILE).unlink()
    cloud.seal = Seal(tmp_path)
    with cloud.database.writing() as db:
        seal_secrets(db, cloud.seal)
    door = Door(cloud)
    cloud.clock.advance(60)
    with pytest.raises(Forbidden):
        door.sign_in(code=pyotp.TOTP(secret).at(cloud.clock()))
    assert door.sign_in(code=cloud.recovery_codes[0]).session


def test_a_second_factor_takes_the_password_and_a_code_of_it_and_goes_by_the_password(cloud, door, ann):
    secret = pyotp.random_base32()
    right = pyotp.TOTP(secret).at(cloud.clock())
    for password, asked, code in ((OTHER, secret, right), (RIGHT, secret, "123"), (RIGHT, "AAAA", right)):
        with pytest.raises((Forbidden, Invalid)):
            cloud.call(verbs.add_second_factor, ann, data=AddSecondFactor(password, asked, code))
    assert not cloud.call(verbs.get_sign_in, ann).has_second_factor
    cloud.call(verbs.add_second_factor, ann, data=AddSecondFactor(RIGHT, secret, right))
    with pytest.raises(Forbidden):
        cloud.call(verbs.remove_second_factor, ann, data=RemoveSecondFactor(OTHER))
    cloud.call(verbs.remove_second_factor, ann, data=RemoveSecondFactor(RIGHT))
    assert door.sign_in().session


def test_a_change_of_password_needs_the_current_one_and_signs_all_other_browsers_out(cloud, door, ann):
    other = door.sign_in()
    key = cloud.call(generate_api_key, ann, data=GenerateApiKey()).key
    with pytest.raises(Forbidden, match="current password"):
        cloud.call(verbs.change_password, ann, data=ChangePassword(OTHER, OTHER))
    cloud.call(verbs.change_password, ann, data=ChangePassword(OTHER, RIGHT))
    with pytest.raises(Unauthenticated):
        caller_of(cloud, other)
    assert len(cloud.call(list_sessions, ann).sessions) == 1
    with cloud.database.reading() as db:
        assert authenticate(db, key, now=cloud.clock()).email == ANN
    with pytest.raises(Forbidden):
        door.sign_in()
    assert door.sign_in(OTHER).session


def test_who_has_only_a_key_sets_a_first_password(cloud, door):
    cloud.call(verbs.change_password, data=ChangePassword(RIGHT))
    assert caller_of(cloud, door.sign_in(email="owner@localhost")).user_id == cloud.owner.user_id
    with pytest.raises(Forbidden):
        cloud.call(verbs.change_password, data=ChangePassword(OTHER))


def test_who_guesses_waits_longer_each_time_by_account_and_by_address(cloud, door, ann):
    for _ in range(FREE):
        with pytest.raises(Forbidden):
            door.sign_in(OTHER)
    door.address = "198.51.100.9"
    with pytest.raises(TooFast, match="cumulet web") as told:
        door.sign_in()
    assert told.value.retry_after == 1
    door.address = "192.0.2.7"
    with pytest.raises(TooFast):
        door.sign_in(email="bob@example.org")
    cloud.clock.advance(1)
    assert door.sign_in().session


def test_tries_count_for_all_servers_together_and_many_at_once_are_no_way_around(cloud, door, ann):
    doors = [door, Door(cloud)]
    for number in range(FREE):
        with pytest.raises(Forbidden):
            doors[number % 2].sign_in(OTHER)
    for one in doors:
        with pytest.raises(TooFast):
            one.sign_in()
    cloud.clock.advance(1)

    def guess(number):
        with pytest.raises((Forbidden, TooFast)) as refused:
            doors[number % 2].sign_in(OTHER)
        return refused.type

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(guess, range(6)), key=str) == [Forbidden, *[TooFast] * 5]


def test_what_was_right_counts_for_nothing_and_what_was_long_ago_is_forgotten(cloud, door, ann):
    for _ in range(FREE + 1):
        assert door.sign_in().session
    with pytest.raises(Forbidden):
        door.sign_in(OTHER)
    assert cloud.count(PasswordTry) == 2
    cloud.clock.advance(FORGOTTEN_S + 1)
    with cloud.database.writing() as db:
        assert tries.forget(db, before=cloud.clock() - tries.KEPT_FOR, most=500) == 2
    assert cloud.count(PasswordTry) == 0


def test_who_is_suspended_or_removed_is_refused_whatever_they_know(cloud, door, ann):
    code = cloud.call(users.invite_user, data=InviteUser("boss@example.org")).invitation.code
    door.join(code)
    pending = cloud.call(verbs.reset_user, id="boss@example.org").code
    cloud.call(users.suspend_user, id="boss@example.org")
    with pytest.raises(Invalid):
        door.join(pending)
    with pytest.raises(Refused):
        cloud.call(verbs.reset_user, id="boss@example.org")
    cloud.call(users.suspend_user, id=ANN)
    with pytest.raises(Forbidden, match="suspended"):
        door.sign_in()
    cloud.call(users.remove_user, id=ANN)
    with pytest.raises(Forbidden):
        door.sign_in()
    assert cloud.count(Password) == 0


def test_an_operator_resets_who_lost_their_way_in(cloud, door, ann, secret):
    session = door.sign_in(code=cloud.recovery_codes[0])
    answer = cloud.call(verbs.reset_user, id=ANN)
    for refused in (lambda: caller_of(cloud, session), door.sign_in):
        with pytest.raises((Unauthenticated, Forbidden)):
            refused()
    assert caller_of(cloud, door.join(answer.code, OTHER)).user_id == ann.user_id
    assert door.sign_in(OTHER).session
    assert cloud.call(users.get_user, id=ANN).first_name == "Ann"
    with pytest.raises(NotFound):
        cloud.call(verbs.reset_user, id="nobody@example.org")


def test_a_reset_gives_back_the_way_in_by_a_key_too(cloud, ann):
    code = cloud.call(verbs.reset_user, id=ANN).code
    answer = cloud.call(users.accept_invitation, data=AcceptInvitation(code))
    assert (answer.user.first_name, answer.user.state) == ("Ann", "ACTIVE")


def test_passwords_and_recovery_codes_are_not_in_the_database(cloud, ann, secret):
    with cloud.database.reading() as db:
        row = db.scalars(select(Password)).one()
        held = f"{row.hash} {row.recovery}"
    assert row.hash.startswith("$argon2id$")
    assert all(one not in held for one in (RIGHT, *cloud.recovery_codes))
