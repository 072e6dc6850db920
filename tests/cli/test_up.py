import os
import signal
import subprocess

import pytest
from tests.cli.conftest import own_settings
from tests.made_up import PROJECT
from tests.ports import free_port
from tests.waiting import eventually
from tests.words import SERVER_SILENT

from cumulet.cli.background import answers, server_of, stop_server
from cumulet.cli.down import vms_of
from cumulet.settings import Settings, read_settings
from cumulet.vms.operations import terminate_vm

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Settings:
    """A machine whose host is made up and whose images are there."""
    settings = own_settings(tmp_path / "data")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    machine = read_settings(settings)
    yield machine
    stop_server(machine)


def test_up_leads_from_nothing_to_a_vm_whose_start_script_ran(machine, command):
    done = command("up")
    assert done.code == 0
    assert answers(machine)
    hello = command("vm", "get", "hello", "-o", "json").json
    assert (
        hello["guest"].items()
        >= {"agentAnswers": True, "firstBootDone": True, "startScriptStatus": 0}.items()
    )
    for word in (str(machine.data_dir / "admin.key"), hello["externalIpAddress"], "vm ssh hello", "server "):
        assert word in done.out
    key = (machine.data_dir / "admin.key").read_text().strip()
    assert key not in done.out + done.err + server_of(machine).log_file.read_text()
    assert (machine.data_dir / "ssh_key").stat().st_mode & 0o777 == 0o600
    assert (machine.data_dir / "ssh_key.pub").read_text().split()[1] in hello["authorizedSshKeys"]


@pytest.fixture
def bare_machine(home, monkeypatch) -> Settings:
    """Somebody's machine where nothing is set but that hosts are made up, and nothing is there."""
    settings = {"CUMULET_HYPERVISOR": "memory:", "CUMULET_LISTEN": f"127.0.0.1:{free_port()}"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    machine = read_settings(settings | {"HOME": str(home)})
    yield machine
    stop_server(machine)


def test_made_up_hosts_are_a_whole_endpoint_without_files_or_settings(bare_machine, home, command):
    done = command("up")
    assert done.code == 0
    assert str(home / ".local/state/cumulet/admin.key") in done.out
    for image in ("debian-12", "ubuntu-2204"):
        assert command("vm", "create", f"on-{image}", "--image", image, "--wait").code == 0
    assert command("vm", "get", "on-ubuntu-2204", "-o", "json").json["publicImageId"] == "debian-12"


def test_a_second_up_changes_nothing_that_stands(machine, command):
    command("up")
    pid = server_of(machine).pid_file.read_text()
    hello = command("vm", "get", "hello", "-o", "json").json
    assert command("up").code == 0
    assert server_of(machine).pid_file.read_text() == pid
    assert command("vm", "get", "hello", "-o", "json").json == hello


def test_a_server_that_is_killed_comes_back(machine, command):
    command("up")
    loop = int(server_of(machine).pid_file.read_text())
    (server,) = children_of(loop)
    os.kill(server, signal.SIGKILL)
    eventually(lambda: children_of(loop) not in ([server], []) and answers(machine))


def test_down_stops_the_server_and_is_content_when_there_is_none(machine, command):
    command("up")
    assert command("down").out == "the server is stopped\n"
    assert not answers(machine)
    assert not server_of(machine).is_there()
    assert command("down").out == "no server was running\n"


def test_down_with_vms_is_content_where_no_server_ever_ran(machine, command, monkeypatch):
    monkeypatch.delenv("CUMULET_HYPERVISOR")  # as a real host has it; nothing of it is touched
    assert command("down", "--vms").out == "no server was running\n"


def test_down_with_vms_deletes_them_first(machine, command):
    command("up")
    command("vm", "create", "other", "--image", "micro", "--wait")
    done = command("down", "--vms")
    assert "hello is deleted after" in done.err
    assert "other is deleted after" in done.err
    assert not server_of(machine).is_there()


def test_down_waits_also_for_vms_that_are_being_deleted_already(cloud):
    cloud.create()
    cloud.ask(terminate_vm)
    settings = read_settings({"CUMULET_DATABASE_URL": cloud.database.url})
    assert vms_of(settings, [PROJECT]) == [(PROJECT, "hello")]


def test_a_server_that_cannot_start_says_why_at_once(machine, monkeypatch, command):
    monkeypatch.setenv("CUMULET_CATALOGUE", "/nowhere.toml")
    done = command("up")
    assert done.code == 1
    assert SERVER_SILENT in done.err
    assert "/nowhere.toml" in done.err
    assert not server_of(machine).is_there()


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(
        ("ps", "--no-headers", "-o", "pid", "--ppid", str(pid)), capture_output=True, text=True, check=False
    )
    return [int(line) for line in listed.stdout.split()]
