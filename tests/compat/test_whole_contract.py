"""Everything that clients of the contract can call: what is not offered says so, by name."""

import re
from pathlib import Path

import cudo_compute
import httpx
import pytest

from cumulet.operation import OPERATIONS
from cumulet.rest.contract import promised, shape

SERVED = {shape(one.method, one.path) for one in OPERATIONS.values()}
NOT_OFFERED = [one for one in promised() if one.shape not in SERVED]


def test_the_table_has_all_that_the_published_python_client_can_call():
    modules = (Path(cudo_compute.__file__).parent / "api").glob("*_api.py")
    calls = [call for module in modules for call in re.findall(r"'(/v1/[^']+)', '(\w+)'", module.read_text())]
    assert len(calls) >= 119
    assert {shape(method, path) for path, method in calls} <= {one.shape for one in promised()}


@pytest.mark.parametrize("id", ["default", "nowhere", "no.such-%20id"])
@pytest.mark.parametrize("promise", NOT_OFFERED, ids=lambda one: f"{one.method} {one.path}")
def test_what_is_not_offered_is_said_by_name_with_what_serves_instead(endpoint, promise, id):
    path = re.sub(r"{[^}]+}", id, promise.path)
    headers = {"Authorization": f"Bearer {endpoint.key}"}
    answer = httpx.request(promise.method, f"{endpoint.url}{path}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (501, 12)
    said = f"{promise.name} ({promise.method} {promise.path}) is not offered by this version of Cumulet; "
    assert answer.json()["message"] == said + promise.instead


def test_what_is_named_instead_is_offered():
    assert [one.path for one in NOT_OFFERED if not one.instead] == []
    named = [
        route for one in NOT_OFFERED for route in re.findall(r"(GET|POST|PATCH) (/v1/[^\s,;:]+)", one.instead)
    ]
    assert len(named) > 30
    assert {route for route in named if shape(*route) not in SERVED} == set()
