import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import libvirt
import pytest
from tests.toy_reconcilers import KIND, note, notes, wake_toys
from tests.waiting import PATIENCE_S, eventually
from tests.words import LOST_CALL

from cumulet.errors import NotAtOnce
from cumulet.hypervisor import HostLost, HostUnreachable, HypervisorError, reopened_link
from cumulet.hypervisor.libvirt import connection as connection_module
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.reconcile import Reconciler


@pytest.fixture
def connection():
    connection = Connection("test:///default")
    yield connection
    connection.close()


def test_what_a_host_refuses_is_told_in_its_words(connection, capfd):
    with pytest.raises(HypervisorError, match="not found") as refusal:
        connection.call(lambda link: link.lookupByUUIDString(str(uuid4())))
    assert not isinstance(refusal.value, HostUnreachable)
    assert capfd.readouterr().err == ""


def test_a_host_without_libvirtd_is_unreachable():
    connection = Connection("qemu:///system?socket=/nowhere/libvirt-sock")
    with pytest.raises(HostUnreachable, match="/nowhere/libvirt-sock"):
        connection.call(lambda link: link.getLibVersion())


def test_one_link_serves_all_calls_and_is_prepared_once():
    prepared = []
    connection = Connection("test:///default", prepare=prepared.append)
    links = {connection.call(id) for _ in range(3)}
    assert len(links) == len(prepared) == 1
    connection.close()


def test_a_link_that_cannot_be_prepared_is_not_used():
    def fail(_link):
        raise libvirt.libvirtError("no events here")

    connection = Connection("test:///default", prepare=fail)
    for _ in range(2):
        with pytest.raises(HostUnreachable):
            connection.call(lambda link: link.getLibVersion())


def test_a_closed_connection_stays_closed(connection):
    connection.call(lambda link: link.getLibVersion())
    connection.close()
    with pytest.raises(HostUnreachable, match="closed"):
        connection.call(lambda link: link.getLibVersion())


class Opener:
    """Opens links to a host whose line is down, cut, or as slow as a test wants."""

    def __init__(self, monkeypatch):
        self.tries = 0
        self.slow = threading.Event()
        self.slow.set()
        self.refuses = False
        monkeypatch.setattr(connection_module, "open_link", self)

    def __call__(self, _uri, _prepare):
        self.tries += 1
        self.slow.wait(PATIENCE_S)
        if self.refuses:
            raise HostUnreachable("no route to host")
        return FakeLink()

    def hang(self):
        self.slow.clear()


class FakeLink:
    """A link that can be cut."""

    alive = 1

    def isAlive(self):  # noqa: N802 - libvirt's name
        return self.alive

    def close(self):
        self.alive = 0

    def cut(self):
        self.alive = 0
        raise libvirt.libvirtError("End of file while reading data")


@pytest.fixture
def opener(monkeypatch):
    opener = Opener(monkeypatch)
    yield opener
    opener.slow.set()


@pytest.fixture
def line(opener):
    line = Connection("qemu+ssh://far/system")
    yield line
    line.close()


def test_a_call_that_loses_the_line_is_not_made_again(line, opener):
    calls = []

    def lose(link):
        calls.append(link)
        link.cut()

    with pytest.raises(HostLost, match=LOST_CALL):
        line.call(lose)
    assert len(calls) == 1
    assert issubclass(HostLost, NotAtOnce)
    assert line.call(id) != id(calls[0])
    assert opener.tries == 2


def test_while_a_line_that_was_lost_is_opened_nobody_waits_for_long_and_one_thread_tries(
    line, opener, monkeypatch
):
    monkeypatch.setattr(reopened_link, "AGAIN_SECONDS", 0.2)
    line.call(id)
    with suppress(HostLost):
        line.call(FakeLink.cut)
    opener.hang()
    with ThreadPoolExecutor(20) as callers:
        told = list(callers.map(lambda _: told_by(line), range(20)))
    assert opener.tries == 2
    assert all("since" in words and "takes long" in words for words in told), told
    threads = [thread for thread in threading.enumerate() if thread.name == "host-open"]
    assert len(threads) == 1
    opener.slow.set()
    eventually(lambda: told_by(line) == "")
    assert opener.tries == 2


def told_by(line):
    try:
        line.call(id)
    except HostUnreachable as problem:
        return str(problem)
    return ""


def test_a_line_that_cannot_be_opened_is_tried_only_now_and_then_and_says_since_when_and_why(line, opener):
    opener.refuses = True
    told = {told_by(line) for _ in range(50)}
    assert opener.tries == 1
    (words,) = told
    assert re.fullmatch(r"no connection to the host since \d\d:\d\d:\d\d UTC: no route to host", words)
    opener.refuses = False
    eventually(lambda: told_by(line) == "")
    assert opener.tries == 2


def test_a_line_that_is_closed_while_it_is_opened_is_not_left_open(line, opener, monkeypatch):
    made = []
    opener.hang()
    monkeypatch.setattr(connection_module, "open_link", lambda *_: made.append(opener("", None)) or made[0])
    line._link._patience = 0.05
    assert "takes long" in told_by(line)
    line.close()
    opener.slow.set()
    eventually(lambda: made and not made[0].alive)


def test_what_goes_wrong_unforeseen_at_the_opening_does_not_end_all_further_attempts(
    line, opener, monkeypatch
):
    monkeypatch.setattr(reopened_link, "REST_SECONDS", 0)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(connection_module, "open_link", lambda *_: 1 / 0)
        assert "failed" in told_by(line)
    assert told_by(line) == ""


def test_work_on_other_hosts_goes_on_while_a_line_that_is_down_takes_its_time(
    line, opener, database, monkeypatch
):
    monkeypatch.setattr(reopened_link, "AGAIN_SECONDS", 0.2)
    line.call(id)
    with suppress(HostLost):
        line.call(FakeLink.cut)
    opener.hang()
    cut_off, others = {uuid4() for _ in range(6)}, [uuid4() for _ in range(4)]

    def reconcile(run):
        if run.id in cut_off:
            line.call(id)
        note(run)

    wake_toys(database, *cut_off, now=datetime.now(UTC) - timedelta(seconds=1))
    wake_toys(database, *others, now=datetime.now(UTC))
    reconciler = Reconciler(database, {KIND: reconcile}, workers=2)
    reconciler.start()
    eventually(lambda: all(notes(database, one) for one in others))
    assert not opener.slow.is_set()
    assert not any(notes(database, one) for one in cut_off)
    opener.slow.set()
    eventually(lambda: all(notes(database, one) for one in cut_off))
    reconciler.stop()
