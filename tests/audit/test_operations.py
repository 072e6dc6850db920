"""Who may read the audit, and how it is looked through."""

from datetime import timedelta

import pytest
from tests.audit.test_calls import create_network

from cumulet import audit
from cumulet.audit import Act
from cumulet.audit.operations import list_audit
from cumulet.reconcile import wake
from cumulet.serve.run import FABRIC_SWEEP


@pytest.fixture
def listed(ask):
    """Read the audit as somebody; gives its entries."""

    def read(who, query=""):
        answer = ask(who, "GET", f"/v1/audit?{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()["entries"]

    return read


@pytest.fixture
def some(ask, cloud):
    """Three entries, a minute apart."""
    create_network(ask)
    cloud.clock.advance(60)
    create_network(ask, "vic")
    cloud.clock.advance(60)
    create_network(ask, "bob", "other")


def operations_of(entries):
    return [(one["user"], one["projectId"], one["outcome"]) for one in entries]


def test_auditors_read_all_newest_first_and_owners_that_of_their_projects(some, ask, listed):
    bob, vic, ann = operations_of(listed("auditor"))
    assert (bob[1], vic[2], ann[:2]) == ("other", "PERMISSION_DENIED", ("ann@example.org", "default"))
    assert operations_of(listed("ann")) == [vic, ann]
    assert operations_of(listed("ann", "projectId=default")) == [vic, ann]
    assert operations_of(listed("bob")) == [bob]
    assert listed("vic") == []
    assert ask("vic", "GET", "/v1/audit?projectId=default").status_code == 403
    assert ask("bob", "GET", "/v1/audit?projectId=default").status_code == 404
    assert ask("", "GET", "/v1/audit").status_code == 401


def test_who_takes_the_name_of_a_project_that_is_gone_reads_nothing_of_that(ask, cloud, listed):
    ask("bob", "POST", "/v1/projects", json={"id": "gone"})
    ask("vic", "DELETE", "/v1/projects/gone")
    ask("bob", "DELETE", "/v1/projects/gone")
    cloud.clock.advance(1)
    ask("ann", "POST", "/v1/projects", json={"id": "gone"})
    ask("ann", "PATCH", "/v1/projects/gone", json={})
    assert [one["user"] for one in listed("ann", "projectId=gone")] == ["ann@example.org"]
    earlier = [one["user"] for one in listed("auditor", "projectId=gone")][1:]
    assert earlier == ["bob@example.org", "vic@example.org"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("user=vic@example.org", ["vic"]),
        ("projectId=other", ["bob"]),
        ("operation=create_network&outcome=OK", ["bob", "ann"]),
        ("operation=delete_network", []),
        ("outcome=7", ["vic"]),
        ("isRefused=true", ["vic"]),
        ("since=2026-03-01T12:01:00Z", ["bob", "vic"]),
        ("until=2026-03-01T12:01:00Z", ["ann"]),
        ("since=2026-03-01T12:00:30Z&until=2026-03-01T12:01:30Z", ["vic"]),
    ],
)
def test_it_is_looked_through_by_user_project_operation_outcome_and_time(some, listed, query, found):
    assert [one["user"].partition("@")[0] for one in listed("auditor", query)] == found


def test_it_comes_in_pages_which_what_happens_meanwhile_does_not_move(some, ask, listed):
    first = ask("auditor", "GET", "/v1/audit?pageSize=2").json()
    create_network(ask, id="another")
    rest = ask("auditor", "GET", f"/v1/audit?pageSize=2&pageToken={first['pageToken']}").json()
    assert [one["user"][:3] for one in first["entries"] + rest["entries"]] == ["bob", "vic", "ann"]
    assert rest["pageToken"] == ""


def test_a_word_that_is_no_outcome_is_refused_with_those_that_there_are(ask):
    answer = ask("auditor", "GET", "/v1/audit?outcome=BAD")
    assert answer.status_code == 400
    assert "PERMISSION_DENIED" in answer.json()["message"]


def test_it_is_forgotten_after_its_time(cloud):
    with cloud.database.writing() as db:
        for days in (366, 364):
            act = Act(operation=f"{days}", address="")
            audit.record(db, act, now=cloud.clock() - timedelta(days=days))
        wake(db, "audit", FABRIC_SWEEP, now=cloud.clock())
    cloud.run()
    assert [one.operation for one in cloud.call(list_audit).entries] == ["364"]
