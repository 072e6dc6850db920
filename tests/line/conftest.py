import socket
import tempfile
import threading
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from tests.waiting import PATIENCE_S

from cumulet.hypervisor import HostUnreachable
from cumulet.hypervisor.memory import memory_hosts
from cumulet.line.connections import dial_unix
from cumulet.line.far_host import FarHost
from cumulet.line.helper import Helper
from cumulet.line.wire import HostWish

WISH = HostWish("test", Path(tempfile.mkdtemp(prefix="cumulet-line-")), {"local": None, "fast": None})


@contextmanager
def helping(open_host, path):
    """A helper in this process that listens at a path."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(64)
    helper = Helper(listener, open_host)
    thread = threading.Thread(target=helper.serve, kwargs={"idle_seconds": 600}, daemon=True)
    thread.start()
    yield helper
    helper.close()
    thread.join()
    listener.close()
    path.unlink()


@pytest.fixture
def real_host():
    """The host at the other end of the line."""
    return memory_hosts("memory:", pools=("local", "fast"))["memory-1"]


@pytest.fixture
def place(tmp_path):
    """Where its helper listens."""
    return tmp_path / "helper.sock"


@pytest.fixture
def helper(real_host, place):
    with helping(lambda _: real_host, place) as helper:
        yield helper


@pytest.fixture
def host(helper, place):
    far = FarHost(partial(dial_unix, str(place)), WISH)
    far.on_change(lambda _: None)
    far.changes.followed.wait(PATIENCE_S)
    yield far
    far.close()


class Wire:
    """What lies between both ends: passes bytes on until it is cut, or goes silent."""

    def __init__(self, place):
        self._place = place
        self._pairs = []
        self.silent = False

    def dial(self):
        """Connect to the helper."""
        if self.silent:
            raise HostUnreachable("nobody answers")
        near, far = socket.socketpair()
        helper = dial_unix(str(self._place))
        helper.settimeout(None)
        self._pairs.append((far, helper))
        for source, target in ((far, helper), (helper, far)):
            threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()
        return near

    def cut(self):
        """End all connections."""
        for end in (end for pair in self._pairs for end in pair):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.silent:
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self):
        """Let go of all."""
        self.cut()
        for end in (end for pair in self._pairs for end in pair):
            end.close()


@pytest.fixture
def wire(helper, place):
    wire = Wire(place)
    yield wire
    wire.close()


@pytest.fixture
def far(wire):
    """The host behind a wire that can be cut."""
    far = FarHost(wire.dial, WISH)
    yield far
    far.close()
