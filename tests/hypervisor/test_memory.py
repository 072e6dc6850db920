import threading
from pathlib import Path
from uuid import uuid4

import pytest
from tests.hypervisor.contract import a_seed, a_spec, found, prepare
from tests.words import HOST_SILENT

from cumulet.errors import Invalid
from cumulet.hypervisor import BaseImage, HostUnreachable, OffReason, Power
from cumulet.hypervisor.memory import memory_hosts

IMAGE = BaseImage(sha256="ab" * 32, format="qcow2", path=Path("/nowhere"), size_gib=1)


class Crash(BaseException):
    pass


@pytest.fixture
def host():
    return memory_hosts("memory:", pools=("local",))["memory-1"]


@pytest.fixture
def running(host):
    spec = a_spec(IMAGE)
    prepare(host, IMAGE, spec)
    host.machines.start(spec.id)
    return spec.id


def test_a_uri_tells_how_many_hosts_there_are_and_of_what_size():
    uri = "memory:?hosts=100&vcpus=8&memory_gib=512&disk_gib=9&gpus=4&gpu_model=H100"
    hosts = memory_hosts(uri, pools=("local",))
    facts = hosts["memory-100"].facts()
    assert len(hosts) == 100
    assert (facts.name, facts.cpus, facts.memory_mib, facts.disk_gib) == (
        "memory-100",
        8,
        512 * 1024,
        {"local": 9},
    )
    assert len(hosts["memory-1"].gpus.read().gpus) == 4


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("memory:?hots=1", "'hots'"),
        ("memory:?hosts=0", "hosts"),
        ("memory:?vcpus=many", "'many'"),
        ("memory:?gpus=8", "gpu_model=H100"),
        ("memory:?gpus=8&gpu_model=H100&gpu_fabric=nvlink", "'nvlink'.*nvswitch or xgmi"),
        ("memory:?gpus=4&gpu_model=H100&gpu_fabric=nvswitch", "4.*8, as NVSwitches join"),
        ("qemu:///system", "memory:"),
    ],
)
def test_a_wrong_uri_is_refused_by_name(uri, words):
    with pytest.raises(Invalid, match=words):
        memory_hosts(uri, pools=("local",))


def test_hosts_of_a_named_uri_outlive_who_opened_them():
    name = f"memory:{uuid4()}"
    host = memory_hosts(name, pools=("local",))["memory-1"]
    host.seeds.write(seed := a_seed(uuid4()))
    host.close()
    assert memory_hosts(name, pools=("local",))["memory-1"].seeds.list() == {seed.vm_id}
    assert memory_hosts("memory:", pools=("local",))["memory-1"].seeds.list() == frozenset()


def test_a_call_fails_before_its_effect(host):
    seed = a_seed(uuid4())
    host.crash_on_call(2, Crash(), after=False)
    host.ping()
    with pytest.raises(Crash):
        host.seeds.write(seed)
    assert host.seeds.list() == frozenset()


def test_a_call_fails_after_its_effect(host):
    seed = a_seed(uuid4())
    host.crash_on_call(1, Crash(), after=True)
    with pytest.raises(Crash):
        host.seeds.write(seed)
    assert host.seeds.list() == {seed.vm_id}


def test_a_silent_host_answers_no_verb(host):
    host.unreachable = True
    for verb in (host.ping, host.facts, host.machines.list, host.disks.list):
        with pytest.raises(HostUnreachable, match=HOST_SILENT):
            verb()


def test_an_image_is_copied_step_by_step(host):
    host.copy_step = 0.5
    assert host.images.copy(IMAGE).fraction == 0.5
    assert host.images.copies() == {}
    assert host.images.copy(IMAGE).ready


def test_a_guest_can_be_deaf(host, running):
    host.deaf = True
    host.machines.request_shutdown(running)
    assert found(host, running).power is Power.RUNNING


def test_a_start_that_was_asked_for_is_told_to_nobody(host, running):
    told = threading.Event()
    host.machines.force_off(running)
    host.on_change(lambda _: told.set())
    host.machines.start(running)
    assert not told.is_set()


def test_a_guest_powers_itself_off(host, running):
    told = threading.Event()
    host.on_change(lambda _: told.set())
    host.guest_powers_off(running)
    assert found(host, running).off_reason is OffReason.GUEST_SHUTDOWN
    assert told.is_set()
