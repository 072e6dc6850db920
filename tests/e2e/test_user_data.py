"""Start scripts as people paste them, in real guests: what they ask for is done, whoever may enter does, no secret stays."""

import pytest
from tests.e2e.real_cloud import RealCloud, SshKey, Vm
from tests.e2e.traces import Parts
from tests.seeds import read_seed
from tests.waiting import eventually

pytestmark = pytest.mark.lab

SLOWEST = 600
PASSWORD = "Corr3ct-horse"
WINDOWS_SCRIPT = "\ufeffecho one 🙂 >>/root/ran\r\nexit 4\r\n"
CONFIG = """\
#cloud-config
users:
  - name: ann
    shell: /bin/bash
    ssh_authorized_keys: ['{ann}']
  - name: root
    ssh_authorized_keys: ['{ann}']
write_files:
  - path: /root/written
    content: grüße 🙂
timezone: Europe/Berlin
runcmd:
  - echo "as $(id -un)" >>/root/ran
"""


def seed_of(vm: Vm) -> dict[str, str]:
    """What lies on the host for a guest to read."""
    image = vm.cloud.data_dir / "host/seeds" / f"{Parts.of(vm).vm}.iso"
    return read_seed(image.read_bytes())[1]


@pytest.fixture(scope="module")
def ann(cloud) -> SshKey:
    return SshKey.make(cloud.folder / "anns")


@pytest.fixture(scope="module")
def debian(cloud: RealCloud, ann) -> Vm:
    return cloud.create(
        "configured",
        image="debian-12",
        vcpus=2,
        memoryGib=2,
        customSshKeys=[f"{cloud.key.public} 🙂"],
        password=PASSWORD,
        startScript=CONFIG.format(ann=ann.public),
    )


def test_a_script_of_windows_runs_in_a_micro_whose_owner_has_a_smile_in_their_key(cloud, debian):
    vm = cloud.create("smiling", customSshKeys=[f"{cloud.key.public} 🙂"], startScript=WINDOWS_SCRIPT)
    eventually(lambda: vm.shown()["guest"]["firstBootDone"])
    assert vm.shown()["guest"]["startScriptStatus"] == 4
    vm.wait_for_ssh()
    assert vm.output_of("cat /root/ran") == "one 🙂\n"
    assert vm.output_of("cat /root/.ssh/authorized_keys") == f"{cloud.key.public} 🙂\n"
    vm.verb("terminate")
    eventually(vm.gone)


def test_an_owners_cloud_config_is_done_and_told(debian):
    eventually(lambda: debian.shown()["guest"]["firstBootDone"], within=SLOWEST)
    guest = debian.shown()["guest"]
    assert (guest["startScriptStatus"], guest["problems"]) == (0, [])
    assert debian.output_of("cat /root/written /root/ran") == "grüße 🙂as root\n"
    assert debian.output_of("readlink -f /etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin\n"


def test_the_keys_of_both_let_in(debian, ann):
    for key in (debian.cloud.key, ann):
        assert debian.output_of("whoami", key=key) == "root\n"
    assert "🙂" in debian.output_of("cat /root/.ssh/authorized_keys")
    assert ann.public.split()[1] in debian.output_of("cat /home/ann/.ssh/authorized_keys")
    assert debian.output_of("whoami", password=PASSWORD) == "root\n"


def test_its_secrets_have_left_the_host_and_it_starts_again_as_the_same_machine(debian, ann):
    seed = seed_of(debian)
    vm_id = Parts.of(debian).vm
    assert vm_id in seed["meta-data"]
    assert len(seed["user-data"].split("Content-Type: text/")) == 3, seed["user-data"]
    identity = "cat /etc/machine-id /etc/ssh/ssh_host_*_key.pub"
    before = debian.output_of(identity)
    debian.verb("reboot")
    eventually(lambda: sum("vm.started" in line for line in debian.timeline()) == 2, within=SLOWEST)
    debian.wait_for_ssh(within=SLOWEST)
    eventually(lambda: debian.ssh("test -e /run/cloud-init/result.json").returncode == 0, within=SLOWEST)
    assert debian.output_of(identity) == before
    assert debian.output_of("cat /root/ran") == "as root\n"
    assert debian.output_of("cloud-init query instance_id").strip() == vm_id
    assert '"errors": []' in debian.output_of("cat /run/cloud-init/result.json")
    assert debian.output_of("whoami", password=PASSWORD) == "root\n"
    assert debian.output_of("whoami", key=ann) == "root\n"
    debian.verb("terminate")
    eventually(debian.gone)
