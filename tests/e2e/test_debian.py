"""A whole journey with Debian: what was asked for is what the guest finds, and what it does is told.

It boots twice, and so does the twin made of its image: each takes tens of seconds where it is emulated.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e import world
from tests.e2e.looks import tap_of
from tests.e2e.real_cloud import RealCloud, SshKey, Vm
from tests.e2e.traces import Parts, traces
from tests.fabric.guests import router_advertisement, run
from tests.seeds import parts_read, read_seed
from tests.waiting import eventually

pytestmark = pytest.mark.lab

SLOWEST = 600
"""Seconds that its boot may take on a busy machine that emulates it."""
PREFIX = "2001:db8:bad::"
PASSWORD, ANOTHER = "Corr3ct-horse", "Batt3ry-staple"
SCRIPT = """\
test -n "$BASH_VERSION" && echo "by bash as $(id -un) in $PWD, home $HOME"
ip route get {world} | grep -q via && echo "with the network up"
exit 7"""
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
WHO = "hostname; cat /etc/machine-id /etc/ssh/ssh_host_*_key.pub; ls /var/lib/cloud/instances"


@pytest.fixture(scope="module")
def members_key(cloud) -> SshKey:
    """A key that the cloud knows of a member of the project."""
    key = SshKey.make(cloud.folder / "member")
    cloud.ask("POST", "/v1/ssh-keys", json={"publicKey": key.public})
    return key


@pytest.fixture(scope="module")
def debian(cloud: RealCloud, members_key, neighbours) -> Vm:
    vm = cloud.create(
        "debian",
        image="debian-12",
        vcpus=2,
        memoryGib=2,
        topology={"sockets": 2, "cores": 1, "threads": 1},
        bootDisk={"sizeGib": 5},
        sshKeySource="SSH_KEY_SOURCE_PROJECT",
        password=PASSWORD,
        startScript=SCRIPT.format(world=world.ADDRESS),
    )
    eventually(lambda: vm.shown()["guest"]["firstBootDone"], within=SLOWEST)
    return vm


def test_its_start_script_ran_as_root_by_bash_once_the_network_was_up(debian):
    log = debian.output_of("cat /var/log/cumulet-start-script.log")
    assert log == "by bash as root in /root, home /root\nwith the network up\n"


def test_how_its_start_script_ended_is_told(debian):
    assert debian.shown()["guest"] == {
        "agentAnswers": True,
        "firstBootDone": True,
        "startScriptStatus": 7,
        "stage": "",
        "problems": [],
        "log": "by bash as root in /root, home /root\nwith the network up",
        "panic": "",
    }
    assert debian.told("vm.first_boot_done").endswith(
        "start script exited with status 7: with the network up"
    )
    assert "cloud-init" in debian.told("vm.boot_stage") or "start script" in debian.told("vm.boot_stage")


def test_it_knows_who_it_is(debian):
    assert debian.output_of("hostname").strip() == "debian"
    assert debian.output_of("cloud-init query instance_id").strip() == Parts.of(debian).vm


def test_the_keys_of_its_project_and_its_own_let_in(debian, members_key):
    for key in (debian.cloud.key, members_key):
        assert debian.output_of("whoami", key=key) == "root\n"


def test_its_password_lets_in_and_is_kept_salted(debian):
    assert debian.output_of("whoami", password=PASSWORD) == "root\n"
    assert debian.ssh("true", password=PASSWORD + "!").returncode != 0
    stored = debian.output_of("getent shadow root").split(":")[1]
    kind, salt, digest = stored.removeprefix("$").split("$")
    assert kind == "6"
    assert len(salt) >= 8
    assert len(digest) == 86


def test_its_password_and_keys_are_changed_by_its_agent(debian, members_key):
    path = "/v1/projects/default/vm/debian"
    debian.cloud.ask("POST", f"{path}/authorized-ssh-keys", json={"customSshKeys": [debian.cloud.key.public]})
    eventually(lambda: debian.told("vm.keys_set"))
    assert debian.ssh("true", key=members_key).returncode != 0
    assert debian.answers()
    debian.cloud.ask("POST", f"{path}/password", json={"password": ANOTHER})
    eventually(lambda: debian.told("vm.password_set"))
    assert debian.output_of("whoami", password=ANOTHER) == "root\n"
    assert debian.ssh("true", password=PASSWORD).returncode != 0


def test_it_has_what_clients_copy_files_and_read_keys_of_packages_with(debian):
    copied = "rsync --archive /etc/hostname /tmp/copy && cat /tmp/copy"
    read = "gpg --quiet --enarmor < /etc/hostname | gpg --quiet --dearmor"
    assert debian.output_of(f"{copied} && {read}") == "debian\n" * 2


def test_it_has_the_processors_and_the_memory_asked_for(debian):
    lscpu = dict(line.split(":", 1) for line in debian.output_of("lscpu").splitlines())
    shape = [int(lscpu[name]) for name in ("CPU(s)", "Socket(s)", "Core(s) per socket", "Thread(s) per core")]
    assert shape == [2, 2, 1, 1]
    kibibytes = int(debian.output_of("awk '/^MemTotal/ {print $2}' /proc/meminfo"))
    assert 1.85 < kibibytes / 2**20 < 2


def test_its_root_disk_has_grown_to_the_size_asked_for(debian):
    assert int(debian.output_of("lsblk --bytes --nodeps --noheadings --output SIZE /dev/vda")) == 5 << 30
    assert int(debian.output_of("df --block-size=1 --output=size / | tail -n 1")) > 4.6 * 2**30


def found(vm: Vm, name: str) -> str:
    """The addresses that a guest finds under a name; nothing when it finds none."""
    return vm.ssh(f"getent ahostsv4 {name}").stdout.decode()


def test_it_got_its_address_by_dhcp_and_finds_its_neighbour_by_name(debian, ann):
    assert f"inet {debian.internal()}/16" in debian.output_of("ip -4 address show dev eth0")
    assert "proto dhcp" in debian.output_of("ip route show default")
    for name in ("ann", "ann.internal"):
        eventually(lambda name=name: found(debian, name).startswith(f"{ann.internal()} "))
        assert debian.output_of(f"head -c 4 </dev/tcp/{name}/22") == "SSH-"


def test_it_reaches_the_world_by_name_as_the_host(debian):
    assert debian.output_of(f"cat </dev/tcp/{world.NAME}/80") == f"world {world.HOST}"


ANNOUNCE = """
import socket
nic = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
nic.bind(("eth0", 0))
for _ in range(3):
    nic.send(bytes.fromhex("{frame}"))
"""


def test_it_cannot_make_itself_the_host_s_router(debian):
    """Though its tap takes IPv6 and announcements: as one does that has appeared just now, on many hosts."""
    tap, mac = tap_of(debian), debian.output_of("cat /sys/class/net/eth0/address").strip()
    settings = Path("/proc/sys/net/ipv6/conf") / tap
    (settings / "accept_ra").write_text("2\n")
    (settings / "disable_ipv6").write_text("0\n")
    frame = router_advertisement(mac, PREFIX).hex()
    debian.output_of("python3 -", stdin=ANNOUNCE.format(frame=frame).encode())
    time.sleep(1)  # much longer than a host takes
    assert PREFIX not in run("ip", "-6", "route", "show")
    assert "default" not in run("ip", "-6", "route", "show")
    (settings / "disable_ipv6").write_text("1\n")


def test_its_serial_console_is_read_through_the_api(debian):
    text = debian.cloud.ask("GET", f"{debian.path}/console-log")["text"]
    assert "Debian GNU/Linux 12 debian ttyS0" in text
    assert "the start script ended with status 7" in text


def assert_secrets_have_left(vm: Vm) -> None:
    """What a guest reads at its start says who it is and whose keys let in, and nothing of a password or a script."""
    vm_id = Parts.of(vm).vm
    _, seed = read_seed((vm.cloud.data_dir / "host/seeds" / f"{vm_id}.iso").read_bytes())
    assert vm_id in seed["meta-data"]
    config, script = (text for _, text in parts_read(seed["user-data"]))
    assert "hashed_passwd" not in config
    assert "by bash" not in script


def test_its_secrets_have_left_the_host(debian):
    assert_secrets_have_left(debian)


def test_stopped_and_started_it_is_the_same_machine_with_the_same_data(debian):
    debian.output_of("echo kept >/root/kept && sync")
    before = debian.output_of(WHO)
    debian.verb("stop")
    debian.wait_for("STOPPED")
    assert debian.told("vm.stopped").startswith("vm.stopped: stopped (guest shutdown, ")
    assert not debian.told("vm.forced_off")
    debian.verb("start")
    debian.wait_for_ssh(within=SLOWEST)
    eventually(lambda: debian.ssh("test -e /run/cloud-init/result.json").returncode == 0, within=SLOWEST)
    assert debian.output_of(f"cat /root/kept; {WHO}") == f"kept\n{before}"
    assert debian.output_of("grep -c 'by bash' /var/log/cumulet-start-script.log") == "1\n"
    assert '"errors": []' in debian.output_of("cat /run/cloud-init/result.json")
    assert debian.output_of("whoami", password=ANOTHER) == "root\n"


@pytest.fixture(scope="module")
def anns_key(cloud) -> SshKey:
    """One that only a cloud-config names."""
    return SshKey.make(cloud.folder / "anns")


@pytest.fixture(scope="module")
def twin(cloud, debian, members_key, anns_key) -> Iterator[Vm]:
    """A VM made of an image of the first, with a cloud-config of its owner's, and a smile in the key of the one who asked."""
    let_in = f"echo '{members_key.public}' >>/root/.ssh/authorized_keys"
    debian.output_of(f"echo 'hard work' >/root/work && {let_in} && sync")
    cloud.ask("POST", "/v1/projects/default/images", params={"vmId": debian.name, "id": "of-debian"})
    image = "/v1/projects/default/images/of-debian"
    eventually(lambda: cloud.ask("GET", image)["image"]["state"] == "READY")
    assert cloud.ask("GET", image)["image"]["takenFrom"] == "FROZEN"
    twin = cloud.create(
        "twin",
        image="of-debian",
        customSshKeys=[f"{cloud.key.public} 🙂"],
        password=PASSWORD,
        startScript=CONFIG.format(ann=anns_key.public),
    )
    eventually(lambda: twin.shown()["guest"]["firstBootDone"], within=SLOWEST)
    yield twin
    twin.verb("terminate")
    eventually(twin.gone)
    cloud.ask("DELETE", image)


def test_a_vm_made_of_its_image_is_another_and_knows_nobody_of_before(debian, twin, members_key):
    assert twin.output_of("cat /root/work") == "hard work\n"
    assert not set(debian.output_of(WHO).splitlines()) & set(twin.output_of(WHO).splitlines())
    assert twin.ssh("true", password=ANOTHER).returncode != 0
    assert twin.ssh("true", key=members_key).returncode != 0


def test_an_owners_cloud_config_is_done_and_told(twin):
    guest = twin.shown()["guest"]
    assert (guest["startScriptStatus"], guest["problems"]) == (0, [])
    assert twin.output_of("cat /root/written /root/ran") == "grüße 🙂as root\n"
    assert twin.output_of("readlink -f /etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin\n"


def test_the_keys_and_the_password_of_both_let_in(twin, anns_key):
    for key in (twin.cloud.key, anns_key):
        assert twin.output_of("whoami", key=key) == "root\n"
    assert "🙂" in twin.output_of("cat /root/.ssh/authorized_keys")
    assert anns_key.public.split()[1] in twin.output_of("cat /home/ann/.ssh/authorized_keys")
    assert twin.output_of("whoami", password=PASSWORD) == "root\n"


def test_its_secrets_have_left_the_host_too_and_it_starts_again_as_the_same_machine(twin, anns_key):
    assert_secrets_have_left(twin)
    before = twin.output_of(WHO)
    twin.verb("reboot")
    eventually(lambda: sum("vm.started" in line for line in twin.timeline()) == 2, within=SLOWEST)
    twin.wait_for_ssh(within=SLOWEST)
    eventually(lambda: twin.ssh("test -e /run/cloud-init/result.json").returncode == 0, within=SLOWEST)
    assert twin.output_of(WHO) == before
    assert twin.output_of("cat /root/ran") == "as root\n"
    assert twin.output_of("cloud-init query instance_id").strip() == Parts.of(twin).vm
    assert '"errors": []' in twin.output_of("cat /run/cloud-init/result.json")
    assert twin.output_of("whoami", password=PASSWORD) == "root\n"
    assert twin.output_of("whoami", key=anns_key) == "root\n"


def test_terminated_it_leaves_nothing(debian):
    parts = Parts.of(debian)
    assert len(traces(debian.cloud, parts)) >= 8
    debian.verb("terminate")
    eventually(debian.gone)
    eventually(lambda: traces(debian.cloud, parts) == [])
