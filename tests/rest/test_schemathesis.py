"""Whatever the document allows, and much that it does not, sent to every operation of a cloud on made-up hosts.

Nothing may end as a mistake of ours, and every answer must be what the document says. That lenient requests are
accepted is the contract's wish, so refusing odd data is tested rule by rule elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.made_up import IMAGE, store_image
from tests.rest.conftest import serving
from tests.waiting import PATIENCE_S

from cumulet.errors import Unavailable, Unimplemented
from cumulet.feed import stream
from cumulet.operation import OPERATIONS
from cumulet.projects import guesses
from cumulet.rest.openapi import openapi_document
from cumulet.serve.build import build
from cumulet.serve.run import started
from cumulet.settings import read_settings

pytest_plugins = ["schemathesis.pytest.plugin"]
pytestmark = pytest.mark.slow


def no_mistake_of_ours(context, response, case):
    """Let pass what is said not to be offered: such as another method of the contract on the same path."""
    if response.status_code == httpx.codes.NOT_IMPLEMENTED:
        assert response.json()["code"] == Unimplemented.code
        return
    not_a_server_error(context, response, case)


CHECKS = [
    no_mistake_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
    ignored_auth,
]
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
VM = {
    "dataCenterId": "local",
    "machineType": "standard",
    "vmId": "hello",
    "bootDiskImageId": IMAGE,
    "vcpus": 1,
    "memoryGib": 1,
    "gpus": 0,
}
GOOD_BODIES = {"create_vm": VM | {"vmId": "other"}, "create_ssh_key": {"publicKey": SSH_KEY}}

api = schemathesis.openapi.from_dict(openapi_document(OPERATIONS.values()))


@api.hook
def map_path_parameters(context, path_parameters):
    """Aim half of the calls at things that are there."""
    if not isinstance(path_parameters, dict):
        return path_parameters
    known = {"projectId": "default", "dataCenterId": "local", "machineTypeId": "standard", "id": "hello"}
    hit = {name: known.get(name, value) for name, value in path_parameters.items() if len(str(value)) % 2}
    return path_parameters | hit


@api.hook
def map_body(context, body):
    """Ask half of the time for something that can be had."""
    good = GOOD_BODIES.get(context.operation.definition.raw["operationId"])
    return good if good and isinstance(body, dict) and len(body) % 2 else body


@api.hook
def map_query(context, query):
    """Wait a second at most for a state: it may never come."""
    if not isinstance(query, dict) or "wait" not in query:
        return query
    is_good = query.get("timeout", 1) in range(1, 301)
    return query | {"timeout": 1} if is_good else query


async def nobody_waits(_bell):
    """End a stream where it would wait for something to happen."""
    raise Unavailable("nothing has happened")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def cloud(request, tmp_path_factory) -> Iterator[tuple[str, dict[str, str]]]:
    """A cloud on made-up hosts with one VM; gives its URL and its owner's headers."""
    folder = tmp_path_factory.mktemp("cloud")
    environment = {"CUMULET_DATA_DIR": str(folder), "CUMULET_HYPERVISOR": "memory:?hosts=3"}
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(guesses, "FREE", 1_000_000)  # every operation is tried with keys that are not good
        patch.setattr(stream, "rung", nobody_waits)
        if request.param == "postgresql":
            postgres = request.getfixturevalue("postgres")
            environment["CUMULET_DATABASE_URL"] = stack.enter_context(postgres.database())
        cloud = build(read_settings(environment))
        store_image(cloud.images)
        stack.enter_context(started(cloud))
        url = stack.enter_context(serving(cloud.app))
        headers = {"Authorization": f"Bearer {(folder / 'admin.key').read_text().strip()}"}
        httpx.post(f"{url}/v1/projects/default/vm", json=VM, headers=headers).raise_for_status()
        yield url, headers


@api.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_answer_is_what_the_document_says(case, cloud):
    url, headers = cloud
    case.call_and_validate(base_url=url, headers=headers, checks=CHECKS, timeout=PATIENCE_S)
