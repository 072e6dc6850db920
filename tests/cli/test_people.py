"""`cumulet user`, `member`, `key` and `project leave`: from an invitation to a key that is revoked."""

import re

import pytest


@pytest.fixture
def as_invited(cumulet, monkeypatch):
    """Invite somebody, accept, and have the commands act for them: `as_invited(...)(words)`."""

    def join(code):
        joined = cumulet("user", "accept", code, "--first-name", "Ann", "-o", "json").json

        def command(*words):
            with monkeypatch.context() as patch:
                patch.setenv("CUMULET_API_KEY", joined["apiKey"]["key"])
                return cumulet(*words)

        return command

    return join


def code_in(done):
    return re.search(r"^code +(\S+)$", done.out, re.MULTILINE)[1]


def test_a_user_is_invited_suspended_resumed_and_removed(cumulet, as_invited):
    code = code_in(cumulet("user", "invite", "amy@example.org", "--role", "auditor"))
    amy = as_invited(code)
    assert "amy@example.org" in amy("user", "list", "-o", "name").out.split()
    assert cumulet("user", "accept", code).code == 2
    assert cumulet("user", "role", "amy@example.org", "none").code == 0
    assert (amy("user", "list").code, amy("project", "list").code) == (1, 0)
    assert cumulet("user", "suspend", "amy@example.org").code == 0
    assert "SUSPENDED" in cumulet("user", "list").out
    assert "suspended" in amy("project", "list").err
    assert cumulet("user", "resume", "amy@example.org").code == 0
    assert amy("project", "list").code == 0
    gone = cumulet("user", "remove", "amy@example.org", "nobody@example.org")
    assert (gone.code, "nobody@example.org" in gone.err) == (3, True)
    assert amy("project", "list").code == 1


def test_a_member_is_added_given_another_role_and_leaves(cumulet, as_invited):
    ben = as_invited(code_in(cumulet("member", "add", "ben@example.org", "viewer")))
    assert ben("member", "list", "--columns", "e-mail,role", "--no-header").out.split() == [
        "ben@example.org", "VIEWER", "owner@localhost", "OWNER",
    ]  # fmt: skip
    assert cumulet("member", "role", "ben@example.org", "editor").code == 0
    assert ben("disk", "create", "of-ben", "1").code == 0
    assert cumulet("disk", "delete", "of-ben").code == 0
    assert cumulet("member", "role", "nobody@example.org", "editor").code == 3
    assert ben("project", "leave", "default").code == 0
    assert ben("member", "list").code == 3
    assert cumulet("member", "add", "ben@example.org").out == ""
    assert cumulet("member", "remove", "ben@example.org").code == 0
    alone = cumulet("project", "leave", "default")
    assert (alone.code, "only owner" in alone.err) == (1, True)


def test_who_has_not_accepted_yet_gets_another_role_and_the_code_that_counts_then(cumulet, as_invited):
    earlier = code_in(cumulet("member", "add", "cy@example.org", "viewer"))
    code = code_in(cumulet("member", "role", "cy@example.org", "editor"))
    assert cumulet("user", "accept", earlier).code == 2
    assert as_invited(code)("member", "list").code == 0
    assert cumulet("member", "remove", "cy@example.org").code == 0
    assert cumulet("user", "remove", "cy@example.org").code == 0


def test_a_key_is_made_for_what_it_is_to_open_and_revoked(cumulet, monkeypatch):
    words = ("--name", "ci-reads", "--expires", "90d", "--project", "default", "--read-only")
    key = cumulet("key", "create", *words, "-o", "name").out.strip()
    listed = next(one for one in cumulet("key", "list", "-o", "json").json if one["id"] == "ci-reads")
    assert (listed["projectId"], listed["readOnly"], listed["key"]) == ("default", True, "")
    assert listed["expireTime"]
    with monkeypatch.context() as patch:
        patch.setenv("CUMULET_API_KEY", key)
        assert cumulet("disk", "list").code == 0
        refused = cumulet("disk", "create", "of-ci", "1")
        assert (refused.code, "read-only" in refused.err) == (1, True)
        assert cumulet("key", "list").code == 1
        monkeypatch.delenv("CUMULET_API_KEY")
    assert cumulet("key", "remove", "ci-reads").code == 0
    assert "ci-reads" not in cumulet("key", "list", "-o", "name").out


@pytest.mark.parametrize("given", ["90", "d", "1w", "٣d", "99999999999d"])
def test_what_is_no_span_is_refused_before_anything_is_called(cumulet, given):
    refused = cumulet("key", "create", "--expires", given)
    assert (refused.code, "--expires: " in refused.err) == (2, True)


def test_somebody_looks_after_a_data_center_and_its_hosts(cumulet, as_invited):
    cat = as_invited(code_in(cumulet("data-center", "member", "add", "local", "cat@example.org", "editor")))
    assert cat("data-center", "member", "list", "local", "-o", "name").out.split() == ["cat@example.org"]
    (host,) = cat("host", "list", "-o", "name").out.split()
    assert (cat("host", "cordon", host).code, cat("host", "uncordon", host).code) == (0, 0)
    assert cat("data-center", "member", "add", "local", "dan@example.org").code == 1
    assert cumulet("data-center", "member", "remove", "local", "cat@example.org").code == 0
    assert cat("host", "list").code == 1
