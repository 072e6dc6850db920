"""One small guest gets other logins, is measured, panics and expires, and says itself what came of it."""

import httpx
import pytest
from tests.e2e.real_cloud import RealCloud, SshKey, Vm
from tests.waiting import eventually
from tests.words import NO_ADDRESS

pytestmark = pytest.mark.lab

PASSWORD, ANOTHER = "Corr3ct-horse", "Batt3ry-staple"


@pytest.fixture(scope="module")
def vm(cloud: RealCloud) -> Vm:
    """It was created with a password, so its sshd takes passwords."""
    vm = cloud.create(
        "changing", password=PASSWORD, startScript="dd if=/dev/vda of=/dev/null bs=1M count=20"
    ).wait_for_ssh()
    eventually(lambda: vm.shown()["guest"]["firstBootDone"])
    return vm


@pytest.fixture(scope="module")
def second_key(cloud) -> SshKey:
    return SshKey.make(cloud.folder / "second")


def post(vm: Vm, what: str, **body) -> dict:
    return vm.cloud.ask("POST", f"/v1/projects/{vm.project}/vm/{vm.name}/{what}", json=body)


def test_another_password_lets_in_and_the_old_one_no_longer(vm):
    vm.output_of("true", password=PASSWORD)
    post(vm, "password", password=ANOTHER)
    eventually(lambda: vm.told("vm.password_set"))
    assert vm.output_of("whoami", password=ANOTHER) == "root\n"
    assert vm.ssh("true", password=PASSWORD).returncode != 0
    assert vm.cloud.log.read_text().count(ANOTHER) == 0


def test_other_keys_let_in_and_the_old_ones_no_longer(vm, second_key):
    assert vm.ssh("true", key=second_key).returncode != 0
    post(vm, "authorized-ssh-keys", sshKeySource="SSH_KEY_SOURCE_NONE", customSshKeys=[second_key.public])
    eventually(lambda: vm.told("vm.keys_set"))
    assert vm.output_of("whoami", key=second_key) == "root\n"
    assert vm.ssh("true").returncode != 0
    both = [second_key.public, vm.cloud.key.public]
    post(vm, "authorized-ssh-keys", customSshKeys=both)
    eventually(vm.answers)
    assert vm.shown()["authorizedSshKeys"].splitlines() == both


def test_prometheus_finds_it(vm):
    def seconds() -> list[float]:
        counted = 'libvirt_domain_info_cpu_time_seconds_total{domain="changing"'
        lines = vm.cloud.api.get("/metrics").text.splitlines()
        return [float(line.split()[-1]) for line in lines if line.startswith(counted)]

    eventually(lambda: [found for found in seconds() if found > 1])  # an early sample tells of less
    assert len(seconds()) == 1
    assert 'cumulet_vms{project="default",state="ACTIVE"}' in vm.cloud.api.get("/metrics").text
    assert httpx.get(f"{vm.cloud.api.base_url}/metrics").status_code == 401


def test_a_kernel_that_panics_is_told_with_its_reason(vm):
    in_a_moment = "(sleep 2; echo c >/proc/sysrq-trigger) </dev/null >/dev/null 2>&1 &"
    vm.output_of(f"echo 1 >/proc/sys/kernel/sysrq; {in_a_moment}")
    eventually(lambda: vm.told("vm.panicked"))
    assert "sysrq triggered crash" in vm.told("vm.panicked")


def test_it_goes_when_its_time_is_over(vm):
    assert post(vm, "expire-time", ttl="5s")["expireTime"]
    eventually(vm.gone)


def test_a_broken_start_script_is_told_with_its_last_words(cloud):
    vm = cloud.create("broken-script", startScript="echo all is well\nno-such-program --now\n")
    eventually(lambda: vm.told("vm.first_boot_done"))
    assert "start script exited with status 127: " in vm.told("vm.first_boot_done")
    assert "no-such-program" in vm.told("vm.first_boot_done")
    assert vm.shown()["guest"]["log"].startswith("all is well\n")
    vm.verb("terminate")
    eventually(vm.gone)


def test_a_guest_whose_network_is_gone_is_told_from_one_that_is_slow(cloud):
    # Meanwhile it is seen with its address: on a slow host it came so late that it was missed before.
    script = "echo waiting for nothing; sleep 10; ip addr flush dev eth0; sleep 600"
    vm = cloud.create("no-network", startScript=script)
    eventually(lambda: NO_ADDRESS in vm.told("vm.boot_stage"))
    eventually(lambda: vm.shown()["guest"]["log"] == "waiting for nothing")
    vm.verb("terminate")
    eventually(vm.gone)
