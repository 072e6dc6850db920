"""A cloud put together from its settings, on made-up hosts and in real time."""

import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from queue import SimpleQueue
from uuid import uuid4

import pytest
from sqlalchemy import select
from tests.made_up import PROJECT, store_image, vm_request
from tests.toy_reconcilers import Crash
from tests.waiting import eventually

from cumulet.errors import Invalid, Unavailable
from cumulet.hosts import Host, register_host
from cumulet.hypervisor.memory import MemoryHypervisor
from cumulet.operation import Caller
from cumulet.projects.access import new_key
from cumulet.projects.model import User
from cumulet.rest.tls import Certificate
from cumulet.self_signed import make_self_signed
from cumulet.serve.backends import open_hosts
from cumulet.serve.build import build
from cumulet.serve.logs import hide_keys, show_controls
from cumulet.serve.manager import Manager
from cumulet.serve.run import changes_together, listener_of, only_one, read_certificate, started, to_listen
from cumulet.settings import read_settings
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs


@pytest.fixture
def settings(sqlite_template, tmp_path):
    """Those of a server that has been started before: to make its database took a third of the time."""
    shutil.copy(sqlite_template, tmp_path / "cumulet.db")
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
        return verbs.get_vm(db, catalogue=cloud.catalogue, project_id=PROJECT, id="hello").vm.state


def hosts_of(cloud):
    with cloud.database.reading() as db:
        return db.scalars(select(Host).order_by(Host.name)).all()


def add_host(cloud, *, name, uri, data_center_id="local"):
    (host,) = cloud.backends.hosts.values()
    with cloud.database.writing() as db:
        facts = replace(host.facts(), name=name)
        register_host(db, facts, data_center_id=data_center_id, uri=uri, now=datetime.now(UTC))


def machine(cloud):
    (host,) = cloud.backends.hosts.values()
    return next(iter(host.machines.list().values()), None)


def test_what_it_accepts_runs_and_runs_again_when_it_ends(settings):
    cloud = build(settings)
    store_image(cloud.images)
    with started(cloud):
        create(cloud)
        eventually(lambda: state(cloud) is VmState.ACTIVE)
        first = machine(cloud)
        next(iter(cloud.backends.hosts.values())).kill(first.id)
        eventually(lambda: machine(cloud).started > first.started)


def test_what_a_killed_server_had_begun_the_next_one_goes_on_with_at_once(settings):
    killed = build(settings)
    store_image(killed.images)
    create(killed)
    (host,) = killed.backends.hosts.values()
    host.crash_on_call(4, Crash("killed"), after=True)
    with pytest.raises(Crash):
        while killed.reconciler.run_due():
            pass
    killed.database.close()
    cloud = build(settings)
    with started(cloud):
        eventually(lambda: state(cloud) is VmState.ACTIVE)


def test_the_setting_makes_the_first_hosts_and_later_each_is_opened_by_its_own_row(settings):
    build(settings).database.close()
    two = replace(settings, hypervisor=f"memory:{uuid4()}?hosts=2&vcpus=8")
    build(two).database.close()
    again = build(settings)
    found = {host.name: (host.uri, again.backends.host(host.id).facts().cpus) for host in hosts_of(again)}
    assert found == {"memory-1": (settings.hypervisor, 64), "memory-2": (two.hypervisor, 8)}
    again.database.close()


def test_a_host_that_its_uri_does_not_lead_to_is_down_and_keeps_no_other_from_being_served(settings):
    cloud = build(settings)
    add_host(cloud, uri="memory:?hots=1", name="misspelt")
    add_host(cloud, uri=settings.hypervisor, name="another's")
    add_host(cloud, uri=settings.hypervisor, name="memory-1b", data_center_id="gone")
    cloud.database.close()
    cloud = build(settings)
    with started(cloud):
        eventually(lambda: sum(host.unheard_since is not None for host in hosts_of(cloud)) == 3)
        assert {host.name for host in hosts_of(cloud) if host.id in cloud.backends.hosts} == {"memory-1"}
        create(cloud)
        eventually(lambda: state(cloud) is VmState.ACTIVE)


def test_what_a_uri_leads_to_besides_the_hosts_of_rows_is_let_go_of(settings):
    cloud = build(settings)
    (here,) = cloud.backends.hosts.values()
    other = MemoryHypervisor(replace(here.facts(), name="another"))
    other.on_change(lambda _: None)
    add_host(cloud, uri="qemu+ssh://elsewhere/system", name="elsewhere")

    def open_uri(uri, _):
        return {"memory-1": here} if uri == settings.hypervisor else {"another": other}

    hosts = open_hosts(cloud.database, cloud.catalogue, default_uri=settings.hypervisor, open_uri=open_uri)
    assert (list(hosts.values()), other._listeners) == ([here], [])
    cloud.database.close()


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


def test_where_somebody_listens_already_nothing_is_begun(settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = f"CUMULET_LISTEN: '127.0.0.1:{port}' .* nobody else listens .*in use"
        with pytest.raises(Invalid, match=words), to_listen(replace(settings, port=port)):
            pytest.fail("it began")
    with to_listen(replace(settings, port=0)):
        pass


def exposed(tmp_path, **further):
    return read_settings({"CUMULET_DATA_DIR": str(tmp_path), "CUMULET_LISTEN": "0.0.0.0:8480", **further})


def test_beyond_this_machine_nothing_is_served_without_tls_unless_it_is_told_to(tmp_path):
    with pytest.raises(Invalid, match=r"CUMULET_LISTEN: .*CUMULET_TLS_CERT.*CUMULET_PLAIN_HTTP=1"):
        read_certificate(exposed(tmp_path))
    assert read_certificate(exposed(tmp_path, CUMULET_PLAIN_HTTP="1")) is None
    files = make_self_signed(tmp_path, ("cloud.example",), datetime.now(UTC)).files
    tls = {"CUMULET_TLS_CERT": str(files.certificate), "CUMULET_TLS_KEY": str(files.key)}
    assert read_certificate(exposed(tmp_path, **tls)) is not None


@pytest.mark.parametrize(
    ("port", "secure", "told"), [(443, True, True), (8480, True, False), (443, False, False)]
)
def test_only_a_names_own_site_has_browsers_use_https_alone(settings, tmp_path, port, secure, told):
    cloud = build(replace(settings, port=port))
    files = make_self_signed(tmp_path, ("cloud.example",), datetime.now(UTC)).files
    listener = listener_of(cloud, Certificate(files) if secure else None, Manager())
    assert (("strict-transport-security", "max-age=31536000") in listener.config.headers) is told
    cloud.database.close()


def test_what_hosts_tell_at_once_is_taken_together_and_each_vm_once():
    changes, ids = SimpleQueue(), sorted(uuid4() for _ in range(3))
    for told in [*reversed(ids), ids[1], None]:
        changes.put(told)
    assert list(changes_together(changes)) == [ids]


def test_what_steers_a_terminal_is_escaped_in_the_log():
    said = {"path": "/v1/\x9b2J\x1b[2J\x7f", "exception": "one\n\ttwo\r", "status": 404, "name": "naïve"}
    assert show_controls(None, "info", said) == {
        "path": r"/v1/\x9b2J\x1b[2J\x7f",
        "exception": "one\n\ttwo\\x0d",
        "status": 404,
        "name": "naïve",
    }


def test_no_key_is_in_the_log():
    key = new_key()
    said = {"event": "request", "path": f"/v1/api-keys/{key}", "status": 404}
    assert hide_keys(None, "info", said) == {
        "event": "request",
        "path": f"/v1/api-keys/{key[:12]}…",
        "status": 404,
    }


HEAPS = """
import ctypes, sys, threading
from cumulet.serve.run import share_one_heap

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
if "shared" in sys.argv:
    share_one_heap()
together = threading.Barrier(4)
threads = [threading.Thread(target=lambda: (together.wait(), libc.malloc(1000), together.wait())) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
told = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(told))
libc.fclose(ctypes.c_void_p(told))
"""


@pytest.mark.parametrize(("how", "one"), [("shared", True), ("as usual", False)])
def test_threads_take_memory_from_one_heap(tmp_path, how, one):
    told = tmp_path / "heaps.xml"
    subprocess.run((sys.executable, "-c", HEAPS, told, how), check=True)
    assert (told.read_text().count("<heap nr=") == 1) == one
