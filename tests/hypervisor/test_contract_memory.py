from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.hypervisor.contract import GuestContract, HypervisorContract

from cumulet.hypervisor import BaseImage
from cumulet.hypervisor.memory import memory_hosts


@pytest.fixture
def host():
    return memory_hosts("memory:", pools=("local", "fast"))["memory-1"]


@pytest.fixture
def image():
    return BaseImage(sha256="ab" * 32, format="qcow2", path=Path("/nowhere"), size_gib=1)


@pytest.fixture
def kill(host):
    return host.kill


@pytest.fixture
def written(host):
    return host.write_disk


@pytest.fixture
def read(host):
    return host.read_disk


@pytest.fixture
def unmounted(host):
    @contextmanager
    def without_fast():
        host.unmount("fast")
        yield
        host.mount("fast")

    return without_fast


@pytest.fixture
def nics():
    return ()


class TestMachinesInMemory(HypervisorContract):
    pass


class TestGuestsInMemory(GuestContract):
    pass
