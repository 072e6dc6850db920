"""The pulse of hosts: who falls silent or is back is looked at, and who stays as it is costs the database nothing."""

import threading
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from tests.waiting import eventually
from tests.words import HOST_SILENT

from cumulet.hypervisor.memory import memory_hosts
from cumulet.reconcile import Due
from cumulet.serve.pulse import Pulse


@pytest.fixture
def hosts():
    return {uuid4(): host for host in memory_hosts("memory:?hosts=2", pools=("local",)).values()}


@pytest.fixture
def pulse(database, hosts):
    pulse = Pulse(database, hosts, seconds=0.01)
    pulse.start()
    yield pulse
    pulse.stop()


def wakes(database):
    with database.reading() as db:
        return dict(db.execute(select(Due.id, Due.wakes)).all())


def asked_again(host):
    """Wait until it was asked twice more: what came of the first is noted then."""
    before = host.call_count
    eventually(lambda: host.call_count > before + 2)


def test_a_host_that_falls_silent_is_looked_at_once_and_again_when_it_is_back(database, hosts, pulse):
    (id, host), (_, other) = hosts.items()
    asked_again(host)
    assert wakes(database) == {}
    host.unreachable = True
    eventually(lambda: wakes(database) == {id: 1})
    asked_again(host)
    asked_again(other)
    assert (wakes(database), pulse.silent) == ({id: 1}, {id: HOST_SILENT})
    host.unreachable = False
    eventually(lambda: wakes(database) == {id: 2})
    assert pulse.silent == {}


@pytest.mark.usefixtures("pulse")
def test_a_host_that_hangs_keeps_no_other_from_being_asked(database, hosts, monkeypatch):
    (_, host), (id, other) = hosts.items()
    hangs = threading.Event()
    monkeypatch.setattr(host, "ping", hangs.wait)
    other.unreachable = True
    eventually(lambda: wakes(database) == {id: 1})
    hangs.set()


def test_a_host_that_was_removed_is_not_silent_any_more(hosts, pulse):
    id, host = next(iter(hosts.items()))
    host.unreachable = True
    eventually(lambda: id in pulse.silent)
    del hosts[id]
    eventually(lambda: pulse.silent == {})


def test_the_pulse_goes_on_when_the_database_did_not_say_which_hosts_there_are(database, hosts):
    class Doors(dict):
        failures = 3

        def __iter__(self):
            self.failures -= 1
            if self.failures >= 0:
                raise OperationalError("SELECT", None, OSError("the database stumbled"))
            return super().__iter__()

    doors = Doors(hosts)
    pulse = Pulse(database, doors, seconds=0.01)
    pulse.start()
    id, host = next(iter(hosts.items()))
    host.unreachable = True
    eventually(lambda: id in pulse.silent)
    pulse.stop()
    assert doors.failures < 0
