import socket
import subprocess
import time
from threading import Thread

import pytest

from cumulet.cli import ssh
from cumulet.cli.ssh import (
    Entry,
    answers,
    enter,
    hears_ssh,
    host_alias,
    identities,
    known_hosts,
    read_entry,
    remember_identities,
    ssh_arguments,
)

VM = {
    "id": "web",
    "projectId": "default",
    "state": "ACTIVE",
    "externalIpAddress": "198.19.0.3",
    "createTime": "2026-03-01T12:00:00.123Z",
}
MADE_LATER = VM | {"createTime": "2026-03-02T12:00:00.456Z"}
SHELL = Entry((), "web", ())


@pytest.fixture
def became(monkeypatch):
    """The programs that this process would have become."""
    programs = []
    monkeypatch.setattr(ssh.os, "execvp", lambda _, arguments: programs.append(arguments))
    return programs


def test_a_vm_is_entered_as_root_at_its_external_address(became):
    enter(VM, SHELL, user="root")
    assert became[0][0] == "ssh"
    assert became[0][-3:] == ["root", "--", "198.19.0.3"]


def test_a_command_is_passed_on_with_its_dashes(cumulet, became):
    cumulet("vm", "create", "entered", "--image", "micro", "--wait")
    cumulet("vm", "ssh", "entered", "df", "-h", "/")
    cumulet("vm", "ssh", "entered", "--user", "admin", "--", "ls", "--user")
    assert (became[0][-5], became[0][-3:]) == ("--", ["df", "-h", "/"])
    assert became[1][-6:-3] == ["-l", "admin", "--"]
    assert became[1][-2:] == ["ls", "--user"]


@pytest.mark.parametrize(
    ("words", "options", "command"),
    [
        ("web", "", ""),
        ("web uptime -p", "", "uptime -p"),
        ("-i key web", "-i key", ""),
        ("-ikey -L 8080:localhost:80 -NT web", "-ikey -L 8080:localhost:80 -NT", ""),
        ("web -v -p 2222 ls -l", "-v -p 2222", "ls -l"),
        ("-vL 1:h:2 -o User=x web -- ls", "-vL 1:h:2 -o User=x", "-- ls"),
        ("-A -tt web", "-A -tt", ""),
    ],
)
def test_options_of_ssh_stand_where_ssh_has_them(words, options, command):
    entry = read_entry(words.split())
    assert entry == Entry(tuple(options.split()), "web", tuple(command.split()))


def test_options_of_ssh_are_passed_on_and_go_before_ours(cumulet, became):
    cumulet("vm", "create", "optioned", "--image", "micro", "--wait")
    cumulet(
        "vm", "ssh", "-i", "key", "optioned", "-L", "8080:localhost:80", "-o", "ConnectTimeout=1", "ls", "-i"
    )
    assert became[0][:7] == ["ssh", "-i", "key", "-L", "8080:localhost:80", "-o", "ConnectTimeout=1"]
    assert (became[0][-4], became[0][-2:]) == ("--", ["ls", "-i"])


@pytest.mark.slow
def test_a_guest_at_work_may_greet_late(tmp_path):
    heard = []

    def greet():
        client, _ = listener.accept()
        with client, client.makefile("rb") as said:
            said.readline()
            time.sleep(6)
            client.sendall(b"SSH-2.0-late\r\n")
            heard.append(said.read(64))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        greeting = Thread(target=greet)
        greeting.start()
        port = Entry(("-F", "/dev/null", "-p", str(listener.getsockname()[1])), "web", ())
        vm = VM | {"externalIpAddress": "127.0.0.1"}
        words = ssh_arguments(vm, port, user="root", identities=(), known=tmp_path / "known")
        subprocess.run(words, capture_output=True, check=False)
        greeting.join()
    assert heard[0], "ssh went on to agree on a key"


@pytest.mark.parametrize("words", [(), ("-v",), ("-i", "key"), ("",)])
def test_a_vm_must_be_named(cumulet, words):
    done = cumulet("vm", "ssh", *words)
    assert (done.code, "NAME is required" in done.err) == (2, True)


def test_a_vm_that_still_boots_is_waited_for(cumulet, became, monkeypatch):
    cumulet("vm", "create", "just-made", "--image", "micro", "--wait")
    looks = iter([False, False, True])
    monkeypatch.setattr(ssh, "answers", lambda *_: next(looks))
    done = cumulet("vm", "ssh", "just-made")
    assert (done.code, became[0][-3]) == (0, "root")
    assert "just-made answers after" in done.err


def test_without_waiting_a_vm_that_does_not_run_cannot_be_entered(cumulet, became):
    cumulet("vm", "create", "off", "--image", "micro", "--wait")
    cumulet("vm", "stop", "off", "--wait")
    assert "is STOPPED and must be ACTIVE" in cumulet("vm", "ssh", "--no-wait", "off").err
    assert "VM 'off' is STOPPED" in cumulet("vm", "ssh", "off").err
    assert not became


def test_a_guest_without_an_agent_answers_when_its_port_of_ssh_does(monkeypatch):
    silent = VM | {"guest": {"agentAnswers": False}, "externalIpAddress": "127.0.0.1"}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(ssh, "SSH_PORT", listening.getsockname()[1])
        assert answers(silent, [])
    assert not hears_ssh("127.0.0.1")
    assert not answers(silent, [{"event": "vm.started"}])
    assert answers(silent, [{"event": "vm.started"}, {"event": "vm.guest_silent"}])


def test_a_new_vm_of_the_same_name_is_no_impostor(home):
    remembered = known_hosts(VM)
    remembered.write_text(f"{host_alias(VM)} ssh-ed25519 AAAA\n")
    assert known_hosts(VM).exists()
    assert known_hosts(MADE_LATER) == remembered
    assert not remembered.exists()
    assert remembered.is_relative_to(home / ".local/state/cumulet")


def test_what_a_server_calls_a_vm_is_neither_an_option_of_ssh_nor_a_path_to_other_files(home, public_key):
    odd = VM | {"projectId": "../../../../", "id": "bashrc", "externalIpAddress": "-oProxyCommand=x"}
    (home / ".bashrc").write_text("mine")
    remember_identities(odd, [public_key])
    assert known_hosts(odd).parent == known_hosts(VM).parent
    assert (home / ".bashrc").read_text() == "mine"
    words = ssh_arguments(odd, SHELL, user="root", identities=[], known=known_hosts(odd))
    assert words[-2:] == ["--", "-oProxyCommand=x"]


def test_ssh_asks_for_the_host_key_of_just_this_vm(tmp_path):
    words = " ".join(ssh_arguments(VM, SHELL, user="root", identities=[], known=tmp_path / "known"))
    assert f"HostKeyAlias={host_alias(VM)}" in words
    assert f"UserKnownHostsFile={tmp_path}/known" in words
    assert "StrictHostKeyChecking=accept-new" in words
    assert " -i " not in words


def test_a_vm_is_entered_with_the_key_that_it_was_created_with(cumulet, became, public_key, tmp_path):
    own = tmp_path / "deploy.key.pub"
    for half in ("", ".pub"):
        (tmp_path / f"deploy.key{half}").write_bytes(public_key.with_suffix(half).read_bytes())
    cumulet("vm", "create", "deployed", "--image", "micro", "--ssh-key", str(own), "--wait")
    cumulet("vm", "ssh", "deployed")
    assert became[0][1:3] == ["-i", str(tmp_path / "deploy.key")]


def test_a_key_is_not_remembered_for_a_later_vm_of_that_name_nor_without_its_private_half(public_key):
    remember_identities(VM, [public_key])
    assert identities(VM) == [public_key.with_suffix("")]
    assert identities(MADE_LATER) == []
    public_key.with_suffix("").unlink()
    remember_identities(MADE_LATER, [public_key])
    assert identities(MADE_LATER) == []


def test_the_key_made_for_a_machine_is_used_where_one_has_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("CUMULET_DATA_DIR", str(tmp_path))
    for name in ("ssh_key", "ssh_key.pub"):
        (tmp_path / name).touch()
    assert identities(VM) == [tmp_path / "ssh_key"]


def test_ones_own_key_goes_before_the_one_made_for_a_machine(tmp_path, monkeypatch, public_key):
    monkeypatch.setenv("CUMULET_DATA_DIR", str(tmp_path))
    for name in ("ssh_key", "ssh_key.pub"):
        (tmp_path / name).touch()
    assert identities(VM) == []
