import pytest

from cumulet.cli import ssh
from cumulet.cli.ssh import enter, host_alias, known_hosts, ssh_arguments

VM = {
    "id": "web",
    "projectId": "default",
    "state": "ACTIVE",
    "externalIpAddress": "198.19.0.3",
    "createTime": "2026-03-01T12:00:00.123Z",
}
MADE_LATER = VM | {"createTime": "2026-03-02T12:00:00.456Z"}


@pytest.fixture
def became(monkeypatch):
    """The programs that this process would have become."""
    programs = []
    monkeypatch.setattr(ssh.os, "execvp", lambda _, arguments: programs.append(arguments))
    return programs


def test_a_vm_is_entered_as_root_at_its_external_address(became):
    enter(VM, (), user="root")
    assert became[0][0] == "ssh"
    assert became[0][-1] == "root@198.19.0.3"


def test_a_command_is_passed_on_with_its_dashes(cumulet, became):
    cumulet("vm", "create", "entered", "--image", "micro", "--wait")
    cumulet("vm", "ssh", "entered", "df", "-h", "/")
    cumulet("vm", "ssh", "entered", "--user", "admin", "--", "ls", "--user")
    assert became[0][-5:-3] == [became[0][-5], "--"]
    assert became[0][-3:] == ["df", "-h", "/"]
    assert became[1][-4].startswith("admin@")
    assert became[1][-2:] == ["ls", "--user"]


def test_a_vm_that_does_not_run_cannot_be_entered(became):
    with pytest.raises(ssh.Refused, match="is STOPPED and must be ACTIVE"):
        enter(VM | {"state": "STOPPED"}, (), user="root")
    assert not became


def test_a_new_vm_of_the_same_name_is_no_impostor(home):
    remembered = known_hosts(VM)
    remembered.write_text(f"{host_alias(VM)} ssh-ed25519 AAAA\n")
    assert known_hosts(VM).exists()
    assert known_hosts(MADE_LATER) == remembered
    assert not remembered.exists()
    assert remembered.is_relative_to(home / ".local/state/cumulet")


def test_ssh_asks_for_the_host_key_of_just_this_vm(tmp_path):
    words = " ".join(ssh_arguments(VM, (), user="root", identity=None, known=tmp_path / "known"))
    assert f"HostKeyAlias={host_alias(VM)}" in words
    assert f"UserKnownHostsFile={tmp_path}/known" in words
    assert "StrictHostKeyChecking=accept-new" in words
    assert " -i " not in words


def test_the_key_made_for_a_machine_is_used_where_one_has_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("CUMULET_DATA_DIR", str(tmp_path))
    for name in ("ssh_key", "ssh_key.pub"):
        (tmp_path / name).touch()
    assert ssh.find_identity() == tmp_path / "ssh_key"


def test_ones_own_key_goes_before_the_one_made_for_a_machine(tmp_path, monkeypatch, public_key):
    monkeypatch.setenv("CUMULET_DATA_DIR", str(tmp_path))
    for name in ("ssh_key", "ssh_key.pub"):
        (tmp_path / name).touch()
    assert ssh.find_identity() is None
