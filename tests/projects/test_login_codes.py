"""A code lets the command in that asked for it, and no other."""

import base64
import hashlib
from datetime import timedelta

import pytest
from tests.projects.people import add_user

from cumulet.errors import Forbidden, Invalid, Unauthenticated
from cumulet.limits import Limits
from cumulet.permission import CloudRole, Role
from cumulet.projects import authenticate, find_caller
from cumulet.projects.login_code_operations import create_login_code, redeem_login_code
from cumulet.projects.session_wire import NewLoginCode, RedeemLoginCode
from cumulet.projects.user_operations import suspend_user

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@pytest.fixture
def ann(db, now):
    return find_caller(db, add_user(db, "ann", default=Role.EDITOR).key_digest, now=now)


def redeemed(db, now, code, verifier=VERIFIER):
    return redeem_login_code(db, now, Limits(), data=RedeemLoginCode(code, verifier))


def test_it_is_exchanged_once_for_a_key_by_who_knows_the_verifier(db, now, ann):
    code = create_login_code(db, ann, now, data=NewLoginCode(CHALLENGE)).code
    with pytest.raises(Forbidden):
        redeemed(db, now, code, "another")
    key = redeemed(db, now, code)
    assert authenticate(db, key.key, now=now).user_id == ann.user_id
    assert key.id.startswith("login-")
    with pytest.raises(Forbidden):
        redeemed(db, now, code)


def test_it_is_good_for_five_minutes_and_not_for_who_is_suspended_meanwhile(db, now, ann):
    old, new = (create_login_code(db, ann, now, data=NewLoginCode(CHALLENGE)).code for _ in range(2))
    with pytest.raises(Forbidden):
        redeemed(db, now + timedelta(minutes=5), old)
    suspend_user(db, add_user(db, "boss", CloudRole.OPERATOR), now, id="ann@example.org")
    with pytest.raises(Unauthenticated):
        redeemed(db, now, new)


def test_a_challenge_has_to_be_one(db, now, ann):
    with pytest.raises(Invalid, match="challenge"):
        create_login_code(db, ann, now, data=NewLoginCode("short"))
