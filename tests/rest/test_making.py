"""Who asks for a thing while it is being made."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as NotYet

import httpx
import pytest
from tests.rest.conftest import serving
from tests.rest.toys import KEY, MakeToy, admit

from cumulet.call import making
from cumulet.errors import NotFound
from cumulet.operation import Access, declared
from cumulet.rest import create_app
from cumulet.wire import Empty

MORE_THAN_THREADS = 60


class Workshop:
    """Makes toys, each when it is let."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Semaphore(0), threading.Event()
        self.toys: set[str] = set()

    def make_toy(self, *, data: MakeToy) -> Empty:
        """Make a toy slowly."""
        self.begun.release()
        self.may_end.wait()
        self.toys.add(data.toy_id)
        return Empty()

    def get_toy(self, *, id: str) -> Empty:
        """Get a toy that is made."""
        if id not in self.toys:
            raise NotFound.named("toy", id)
        return Empty()


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
def client(database, workshop) -> Iterator[httpx.Client]:
    operations = (
        declared("POST /v1/toys", workshop.make_toy, access=Access.KEY, makes="/v1/toys/{toyId}"),
        declared("GET /v1/toys/{id}", workshop.get_toy, access=Access.OPEN),
    )
    app = create_app(database, admit=admit, provided={}, operations=operations)
    with (
        serving(app) as url,
        httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {KEY}"},
            limits=httpx.Limits(max_connections=None),
            timeout=60,
        ) as client,
    ):
        yield client


@pytest.fixture
def pool(workshop) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(MORE_THAN_THREADS + 1) as pool:
        yield pool
        workshop.may_end.set()


@pytest.fixture
def patient(monkeypatch) -> None:
    monkeypatch.setattr(making, "PATIENCE_S", 60)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("spelling", ["toyId", "toy_id"])
def test_an_answer_waits_for_what_is_being_made(client, workshop, pool, spelling):
    made = pool.submit(client.post, "/v1/toys", json={spelling: "a b"})
    workshop.begun.acquire()
    asked = pool.submit(client.get, "/v1/toys/a%20b")
    with pytest.raises(NotYet):
        asked.result(timeout=0.3)
    workshop.may_end.set()
    assert (asked.result().status_code, made.result().status_code) == (200, 200)


@pytest.mark.usefixtures("patient")
def test_another_name_is_refused_at_once(client, workshop, pool):
    pool.submit(client.post, "/v1/toys", json={"toyId": "ball"})
    workshop.begun.acquire()
    assert client.get("/v1/toys/bal").status_code == 404


def test_an_answer_waits_for_a_second_at_most(client, workshop, pool):
    pool.submit(client.post, "/v1/toys", json={"toyId": "ball"})
    workshop.begun.acquire()
    assert client.get("/v1/toys/ball").status_code == 404


@pytest.mark.usefixtures("patient")
def test_those_who_wait_hold_no_thread(client, workshop, pool):
    pool.submit(client.post, "/v1/toys", json={"toyId": "ball"})
    workshop.begun.acquire()
    callers = [{"authorization": f"Bearer key-{number}"} for number in range(MORE_THAN_THREADS)]
    waiting = [pool.submit(client.get, "/v1/toys/ball", headers=caller) for caller in callers]
    with pytest.raises(NotYet):
        waiting[-1].result(timeout=0.3)
    assert client.get("/v1/toys/doll").status_code == 404
    assert not any(one.done() for one in waiting)
    workshop.may_end.set()
    assert {one.result().status_code for one in wait(waiting).done} == {200}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("body", [b"no JSON", b"{}", b'{"toyId": 7}', b'{"toyId": "doll", "count": "many"}'])
def test_what_is_refused_makes_nobody_wait(client, workshop, body):
    assert client.post("/v1/toys", content=body).status_code == 400
    assert client.get("/v1/toys/doll").status_code == 404
    workshop.may_end.set()
    assert client.post("/v1/toys", json={"toyId": "doll"}).is_success
    assert client.get("/v1/toys/doll").is_success
