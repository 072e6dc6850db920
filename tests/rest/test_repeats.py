"""The header Idempotency-Key, over HTTP."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import func, select
from tests.rest.conftest import serving

from cumulet.call.repeats import AnsweredRequest
from cumulet.serve.build import build
from cumulet.settings import read_settings


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloud")
    cloud = build(read_settings({"CUMULET_DATA_DIR": str(folder), "CUMULET_HYPERVISOR": "memory:"}))
    yield cloud
    cloud.database.close()


@pytest.fixture(scope="module")
def owner(cloud) -> Iterator[httpx.Client]:
    key = (cloud.settings.data_dir / "admin.key").read_text().strip()
    with (
        serving(cloud.app) as url,
        httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}) as one,
    ):
        yield one


def kept(cloud) -> int:
    with cloud.database.reading() as db:
        return db.scalar(select(func.count()).select_from(AnsweredRequest))


def post(owner, key, path="/v1/projects", **body):
    return owner.post(path, json=body, headers={"idempotency-key": key})


def alike(answer):
    """All of an answer but what is another for each request."""
    own = {"date", "x-request-id"}
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    return answer.status_code, headers, answer.content


def test_the_same_request_gets_the_same_status_headers_and_body_however_it_is_written(owner):
    first = post(owner, "one", id="first")
    assert first.status_code == 200
    headers = {"idempotency-key": "one"}
    again = owner.post(
        "/v1/projects", content=b'{ "billing_account_id": null,\n"id": "first"}', headers=headers
    )
    assert alike(again) == alike(first)


def test_other_content_under_the_same_key_is_a_conflict(owner):
    post(owner, "two", id="second")
    refused = post(owner, "two", id="other")
    assert (refused.status_code, refused.json()["code"]) == (409, 6)
    assert refused.json()["details"][0]["reason"] == "IDEMPOTENCY_KEY_REUSED"


def test_without_a_key_each_request_is_another(owner, cloud):
    before = kept(cloud)
    assert [owner.post("/v1/projects", json={"id": "third"}).status_code for _ in range(2)] == [200, 409]
    assert kept(cloud) == before


@pytest.mark.parametrize("key", ["a b", "x" * 256, "ü".encode()])
def test_what_cannot_be_a_key_is_refused_with_what_can(owner, key):
    refused = post(owner, key, id="fourth")
    assert (refused.status_code, refused.json()["code"]) == (400, 3)
    assert "Idempotency-Key" in refused.json()["message"]
    assert "1 to 255 characters" in refused.json()["message"]


def test_what_changes_nothing_is_read_anew_whatever_its_key(owner, cloud):
    before = kept(cloud)
    headers = {"idempotency-key": "x" * 999}
    assert owner.get("/v1/projects", headers=headers).status_code == 200
    assert kept(cloud) == before
