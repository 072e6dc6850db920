import hashlib
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.hypervisor.contract import GpuContract, GuestContract, HypervisorContract, a_spec, prepare

from cumulet.hypervisor import BaseImage, GpuSpec
from cumulet.hypervisor.memory import memory_hosts


@pytest.fixture
def image(tmp_path):
    """One that lies where the server is."""
    (path := tmp_path / "image").write_bytes(content := b"a disk" * 100_000)
    return BaseImage(sha256=hashlib.sha256(content).hexdigest(), format="qcow2", path=path, size_gib=1)


@pytest.fixture
def kill(real_host):
    return real_host.kill


@pytest.fixture
def written(real_host):
    return real_host.write_disk


@pytest.fixture
def read(real_host):
    return real_host.read_disk


@pytest.fixture
def unmounted(real_host):
    @contextmanager
    def without_fast():
        real_host.unmount("fast")
        yield
        real_host.mount("fast")

    return without_fast


@pytest.fixture
def nics():
    return ()


class TestMachinesOverTheLine(HypervisorContract):
    pass


class TestGuestsOverTheLine(GuestContract):
    pass


class TestGpusOverTheLine(GpuContract):
    @pytest.fixture
    def real_host(self):
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
