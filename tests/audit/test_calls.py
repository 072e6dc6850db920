"""What the audit tells of requests, as they come over HTTP."""

from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import update
from tests.made_up import vm_request
from tests.rest.conftest import serving

from cumulet.audit import Outcome
from cumulet.errors import AlreadyExists
from cumulet.operation import Access, Caller, declared
from cumulet.projects import admit
from cumulet.projects.model import ApiKey
from cumulet.quotas.operations import set_quota
from cumulet.quotas.wire import SetQuota
from cumulet.rest import create_app
from cumulet.wire import Empty

VMS = "/v1/projects/default/vms"
NETWORK = {"id": "lan", "dataCenterId": "local", "cidrPrefix": "10.1.0.0/24"}


def create_network(ask, who="ann", project="default", **fields):
    return ask(who, "POST", f"/v1/projects/{project}/networks", json=NETWORK | fields)


def test_a_change_is_told_with_who_where_by_which_key_and_to_what(ask, told, cloud):
    assert create_network(ask).status_code == 200
    (one,) = told()
    assert (one.email, one.key_id, one.address) == ("ann@example.org", "key-of-ann", "127.0.0.1")
    assert (one.operation, one.project_id) == ("create_network", "default")
    assert one.target == "id=lan dataCenterId=local"
    assert (one.outcome, one.reason, one.count, one.at) == (Outcome.OK, "", 1, cloud.clock())


def test_what_a_body_and_a_query_name_is_told_and_the_id_that_something_was_given(ask, told):
    assert ask("ann", "POST", "/v1/api-keys", json={}).status_code == 200
    assert ask("ann", "PATCH", "/v1/projects/default/disk/data/attach?vmId=web").status_code == 404
    made, refused = told()
    assert made.target.startswith("id=key-")
    assert (refused.operation, refused.target) == ("attach_storage_disk", "id=data vmId=web")


def test_a_change_that_is_refused_is_told_once_and_with_the_field_or_reason(ask, told):
    assert create_network(ask, cidrPrefix="banana").status_code == 400
    assert create_network(ask, id="NOT AN ID").status_code == 400
    assert [(one.outcome, one.reason) for one in told()] == [
        (Outcome.INVALID_ARGUMENT, "cidrPrefix"),
        (Outcome.INVALID_ARGUMENT, "id"),
    ]


def test_what_a_quota_refuses_is_told_with_its_reason(ask, told, cloud):
    cloud.call(set_quota, project_id="default", name="networks", data=SetQuota(limit=0))
    refused = create_network(ask)
    assert (refused.status_code, refused.json()["code"]) == (429, 8)
    assert told()[-1].outcome is Outcome.RESOURCE_EXHAUSTED
    assert told()[-1].reason == "QUOTA_EXCEEDED"


def test_what_does_not_even_fit_is_told_by_what_its_path_names(ask, told):
    assert ask("ann", "POST", "/v1/projects/default/networks/lan/start", content="{").status_code == 400
    (one,) = told()
    assert (one.email, one.project_id, one.target) == ("ann@example.org", "default", "id=lan")


def test_looks_are_not_told_but_those_where_one_may_not_look_are(ask, told):
    for path, status in (("/v1/auth", 200), (VMS, 200), (f"{VMS}/gone", 404)):
        assert ask("ann", "GET", path).status_code == status
    assert not told()
    assert ask("bob", "GET", VMS).status_code == 404
    assert ask("bob", "GET", "/v1/gpus").status_code == 403
    assert ask("", "GET", VMS).status_code == 401
    assert ask("wrong", "GET", VMS).status_code == 401
    assert [(one.email, one.operation, one.outcome, one.count) for one in told()] == [
        ("bob@example.org", "list_vms", Outcome.NOT_FOUND, 1),
        ("bob@example.org", "list_gpus", Outcome.PERMISSION_DENIED, 1),
        ("", "list_vms", Outcome.UNAUTHENTICATED, 2),
    ]


def test_who_may_not_change_and_whose_key_is_good_no_more_is_named(ask, told, cloud):
    assert create_network(ask, "vic").status_code == 403
    with cloud.database.writing() as db:
        ended = update(ApiKey).where(ApiKey.id == "key-of-bob")
        db.execute(ended.values(expires_at=cloud.clock() - timedelta(days=1)))
    assert create_network(ask, "bob", "other").status_code == 401
    assert [(one.email, one.key_id, one.outcome) for one in told()] == [
        ("vic@example.org", "key-of-vic", Outcome.PERMISSION_DENIED),
        ("bob@example.org", "key-of-bob", Outcome.UNAUTHENTICATED),
    ]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_what_was_right_after_a_wait_is_told_as_done_alone(cloud, ask, told):
    tries = []

    def make(caller: Caller) -> Empty:
        tries.append(caller.email)
        if len(tries) < 3:
            raise AlreadyExists("it is going", passing=True)
        return Empty()

    app = create_app(
        cloud.database,
        admit=admit,
        provided={},
        operations=[declared("POST /v1/make", make, access=Access.KEY)],
    )
    with serving(app) as url:
        assert ask("ann", "POST", f"{url}/v1/make").status_code == 200
    (one,) = told()
    assert (one.outcome, len(tries)) == (Outcome.OK, 3)


def test_a_create_is_told_in_its_own_transaction(ask, told, cloud):
    body = msgspec.to_builtins(vm_request())
    assert ask("ann", "POST", "/v1/projects/default/vm", json=body).status_code == 200
    assert ask("ann", "POST", "/v1/projects/default/vm", json=body).status_code == 409
    first, second = told()
    assert (first.outcome, second.outcome) == (Outcome.OK, Outcome.ALREADY_EXISTS)
    assert "vmId=hello" in first.target
    assert first.target == second.target
