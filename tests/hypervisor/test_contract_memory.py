from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.hypervisor.contract import GpuContract, GuestContract, HypervisorContract, a_spec, prepare

from cumulet.hypervisor import BaseImage, GpuSpec
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


class TestGpusInMemory(GpuContract):
    @pytest.fixture
    def host(self):
        return memory_hosts("memory:?gpus=1&gpu_model=H100", pools=("local",))["memory-1"]

    @pytest.fixture
    def gpus(self, host):
        return host.gpus

    @pytest.fixture
    def used(self, host, image):
        def run_with(gpu):
            spec = replace(a_spec(image), gpus=(GpuSpec((gpu.address,), gpu.numa_node),))
            prepare(host, image, spec)
            host.machines.start(spec.id)

        return run_with
