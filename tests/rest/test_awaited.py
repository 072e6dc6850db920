"""Waiting for a state over HTTP."""

import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

import httpx
import pytest
from tests.rest.conftest import serving
from tests.rest.toys import KEY, ToyRow, ToyTables, admit
from tests.waiting import PATIENCE_S

from cumulet.call import turns
from cumulet.errors import NotFound
from cumulet.operation import Access, States, declared
from cumulet.rest import create_app
from cumulet.serve.build import build
from cumulet.serve.run import started
from cumulet.settings import read_settings
from cumulet.wire import Empty, Wire

STATES = States("toy", rests=("TOY_DONE", "TOY_OFF"), vain=frozenset({"TOY_BROKEN"}), prefix="TOY_")
NAMES = ("TOY_NEW", "TOY_DONE", "TOY_OFF", "TOY_BROKEN")
MORE_THAN_TURNS = 20


class ToyState(Wire):
    state: str
    problem: str


class GetToy(Wire):
    toy: ToyState


def get_toy(db: object, *, id: str) -> GetToy:
    """Show a toy; its count says in which state it is."""
    row = db.get(ToyRow, id)
    if row is None:
        raise NotFound.named("toy", id)
    return GetToy(ToyState(NAMES[row.count], "it fell" if row.count == 3 else ""))


def do_nothing() -> Empty:
    """Do nothing."""
    return Empty()


@pytest.fixture
def client(database):
    operations = (
        declared("GET /v1/toys/{id}", get_toy, access=Access.KEY, states=STATES),
        declared("GET /v1/nothing", do_nothing, access=Access.KEY),
    )
    app = create_app(database, admit=admit, provided={}, operations=operations)
    headers, limits = {"authorization": f"Bearer {KEY}"}, httpx.Limits(max_connections=None)
    with (
        serving(app) as url,
        httpx.Client(base_url=url, headers=headers, limits=limits, timeout=60) as client,
    ):
        yield client
    put(database, None)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(MORE_THAN_TURNS + 1) as pool:
        yield pool


def put(database, count, id="ball"):
    """Let a toy be in a state, or be gone."""
    with database.writing() as db:
        row = db.get(ToyRow, id)
        if row and count is None:
            db.delete(row)
        elif row:
            row.count = count
        elif count is not None:
            db.add(ToyRow(id=id, count=count))


def waiting(client, state="TOY_DONE", timeout=60):
    return client.get(f"/v1/toys/ball?wait={state}&timeout={timeout}")


def ended(answer):
    return answer.status_code, answer.json()["toy"]["state"], answer.headers["wait-outcome"]


@pytest.mark.parametrize("state", ["TOY_DONE", "DONE"])
def test_what_is_so_already_is_answered_at_once(client, database, state):
    put(database, 1)
    assert ended(waiting(client, state)) == (200, "TOY_DONE", "reached")


def test_it_is_answered_when_a_commit_makes_it_so_and_not_before(client, database, pool):
    put(database, 0)
    answer = pool.submit(waiting, client)
    put(database, 2)
    with pytest.raises(NotYet):
        answer.result(timeout=0.3)
    put(database, 1)
    assert ended(answer.result()) == (200, "TOY_DONE", "reached")


def test_when_time_is_up_it_is_shown_as_it_is(client, database):
    put(database, 0)
    for _ in range(2):  # what is kept of the first is no answer to whoever waits anew
        assert ended(waiting(client, timeout=1)) == (200, "TOY_NEW", "timeout")


def test_what_will_never_be_so_is_refused_with_why(client, database, pool):
    put(database, 0)
    answer = pool.submit(waiting, client)
    put(database, 3)
    refused = answer.result()
    assert (refused.status_code, refused.json()["code"]) == (400, 9)
    assert refused.json()["message"] == "'ball' is TOY_BROKEN and will not be TOY_DONE: it fell"
    assert refused.json()["details"][0]["violations"][0]["type"] == "WAIT_IN_VAIN"


def test_what_goes_meanwhile_is_not_found(client, database, pool):
    put(database, 0)
    answer = pool.submit(waiting, client)
    with pytest.raises(NotYet):
        answer.result(timeout=0.2)
    put(database, None)
    assert answer.result().status_code == 404


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("wait=TOY_NEW", "TOY_DONE or TOY_OFF"),
        ("wait=DONE&timeout=0", "timeout"),
        ("wait=DONE&timeout=301", "timeout"),
    ],
)
def test_what_cannot_be_waited_for_is_refused_with_what_can(client, database, query, words):
    put(database, 0)
    refused = client.get(f"/v1/toys/ball?{query}")
    assert (refused.status_code, refused.json()["code"]) == (400, 3)
    assert words in refused.json()["message"]


def test_those_who_wait_hold_no_turn_and_are_bounded(client, database, pool, monkeypatch):
    monkeypatch.setattr(turns, "UNDER_WAY", MORE_THAN_TURNS)
    stood_aside = threading.Semaphore(0)
    stand_aside = turns.Turns.standing_aside
    monkeypatch.setattr(
        turns.Turns, "standing_aside", lambda *caller: stood_aside.release() or stand_aside(*caller)
    )
    put(database, 0)
    answers = [pool.submit(waiting, client) for _ in range(MORE_THAN_TURNS)]
    for _ in answers:
        assert stood_aside.acquire(timeout=PATIENCE_S)
    assert client.get("/v1/nothing").status_code == 200
    refused = waiting(client)
    assert (refused.status_code, refused.json()["code"]) == (429, 8)
    assert f"{MORE_THAN_TURNS} of your requests wait" in refused.json()["message"]
    put(database, 1)
    assert {ended(answer.result()) for answer in answers} == {(200, "TOY_DONE", "reached")}


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_what_another_server_commits_is_seen_as_well(open_database, pool):
    here, there = open_database(), open_database()
    ToyTables.metadata.create_all(here.engine)
    put(there, 0)
    shown = declared("GET /v1/toys/{id}", get_toy, access=Access.KEY, states=STATES)
    app = create_app(here, admit=admit, provided={}, operations=(shown,))
    headers = {"authorization": f"Bearer {KEY}"}
    with serving(app) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        answer = pool.submit(waiting, client)
        with pytest.raises(NotYet):
            answer.result(timeout=0.3)
        put(there, 1)
        assert ended(answer.result()) == (200, "TOY_DONE", "reached")


def test_vms_disks_images_and_networks_are_waited_for(tmp_path):
    settings = {"CUMULET_DATA_DIR": str(tmp_path), "CUMULET_HYPERVISOR": "memory:"}
    cloud = build(read_settings(settings))
    headers = {"authorization": f"Bearer {(tmp_path / 'admin.key').read_text().strip()}"}
    vm = {"dataCenterId": "local", "machineType": "standard", "vmId": "hello", "bootDiskImageId": "micro"}
    network = {"dataCenterId": "local", "id": "backend", "ipRange": "10.1.0.0/24"}
    with (
        started(cloud),
        serving(cloud.app) as url,
        httpx.Client(base_url=f"{url}/v1/projects/default", headers=headers, timeout=60) as client,
    ):
        assert client.post("/vm", json=vm | {"vcpus": 1, "memoryGib": 1, "gpus": 0}).is_success
        assert client.get("/vms/hello?wait=ACTIVE").json()["VM"]["state"] == "ACTIVE"
        assert client.get("/disks/hello-boot?wait=USED").json()["disk"]["diskState"] == "DISK_STATE_USED"
        assert client.post("/images?vmId=hello&id=golden", json={}).is_success
        assert client.get("/images/golden?wait=READY").json()["image"]["state"] == "READY"
        assert client.post("/networks", json=network).is_success
        assert client.get("/networks/backend?wait=ACTIVE").json()["network"]["state"] == "ACTIVE"
        assert client.post("/vms/hello/stop", json={}).is_success
        assert client.get("/vms/hello?wait=STOPPED").json()["VM"]["state"] == "STOPPED"
