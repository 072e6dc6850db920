"""A cloud put together from its settings, on made-up hosts and in real time."""

from datetime import UTC, datetime
from queue import SimpleQueue
from uuid import uuid4

import pytest
from sqlalchemy import select
from tests.made_up import PROJECT, store_image, vm_request
from tests.plots import Crash, eventually

from cumulet.errors import Unavailable
from cumulet.operation import Caller
from cumulet.projects.model import User
from cumulet.serve import build, only_one, show_controls, started, told_together
from cumulet.settings import read_settings
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs


@pytest.fixture
def settings(tmp_path):
    return read_settings({"CUMULET_DATA_DIR": str(tmp_path), "CUMULET_HYPERVISOR": f"memory:{uuid4()}"})


def owner(db):
    user = db.scalars(select(User)).one()
    return Caller(user_id=user.id, email=user.email)


def create(cloud):
    with cloud.database.writing() as db:
        verbs.create_vm(
            db,
            owner(db),
            catalogue=cloud.catalogue,
            images=cloud.images,
            now=datetime.now(UTC),
            project_id=PROJECT,
            data=vm_request(),
        )


def state(cloud):
    with cloud.database.reading() as db:
        return verbs.get_vm(db, owner(db), catalogue=cloud.catalogue, project_id=PROJECT, id="hello").vm.state


def machine(cloud):
    (host,) = cloud.world.hosts.values()
    return next(iter(host.domains().values()), None)


def test_what_it_accepts_runs_and_runs_again_when_it_ends(settings):
    cloud = build(settings)
    store_image(cloud.images)
    with started(cloud):
        create(cloud)
        eventually(lambda: state(cloud) is VmState.ACTIVE)
        first = machine(cloud)
        next(iter(cloud.world.hosts.values())).kill(first.id)
        eventually(lambda: machine(cloud).started > first.started)


def test_what_a_killed_server_had_begun_the_next_one_goes_on_with_at_once(settings):
    killed = build(settings)
    store_image(killed.images)
    create(killed)
    (host,) = killed.world.hosts.values()
    host.crash_on_call(4, Crash("killed"), after=True)
    with pytest.raises(Crash):
        while killed.reconciler.run_due():
            pass
    killed.database.close()
    cloud = build(settings)
    with started(cloud):
        eventually(lambda: state(cloud) is VmState.ACTIVE)


def test_sqlite_serves_one_server_at_a_time(settings):
    with (
        only_one(settings),
        pytest.raises(Unavailable, match=r"another server runs on .*PostgreSQL"),
        only_one(settings),
    ):
        pass
    with only_one(settings):
        pass


def test_on_postgresql_there_may_be_several(tmp_path):
    url = "postgresql+psycopg://cumulet@db/cumulet"
    settings = read_settings({"CUMULET_DATA_DIR": str(tmp_path), "CUMULET_DATABASE_URL": url})
    with only_one(settings), only_one(settings):
        pass


def test_what_hosts_tell_at_once_is_taken_together_and_each_vm_once():
    changes, ids = SimpleQueue(), sorted(uuid4() for _ in range(3))
    for told in [*reversed(ids), ids[1], None]:
        changes.put(told)
    assert list(told_together(changes)) == [ids]


def test_what_steers_a_terminal_is_escaped_in_the_log():
    said = {"path": "/v1/\x9b2J\x1b[2J\x7f", "exception": "one\n\ttwo\r", "status": 404, "name": "naïve"}
    assert show_controls(None, "info", said) == {
        "path": r"/v1/\x9b2J\x1b[2J\x7f",
        "exception": "one\n\ttwo\\x0d",
        "status": 404,
        "name": "naïve",
    }
