import pytest

from cumulet.doctor import cli
from cumulet.doctor.findings import broken, degraded, ok


@pytest.fixture
def found(monkeypatch):
    """What examining this host finds; a test puts it here."""
    findings = [ok("QEMU", "7.2.22")]
    monkeypatch.setattr(cli, "examine", lambda *_, **__: findings)
    return findings


def run_doctor(*words):
    return cli.doctor_app()(list(words), result_action="return_value")


def test_a_host_without_anything_broken_ends_with_0(found, capsys):
    found.append(degraded("KVM", "hangs", cost="slow guests"))
    assert run_doctor() == 0
    printed = capsys.readouterr().out
    assert "QEMU" in printed
    assert "costs: slow guests" in printed


def test_what_is_broken_is_told_with_its_cure_and_ends_with_1(found, capsys):
    found.append(broken("OVN", "not [installed]", cure="cumulet doctor prepare"))
    assert run_doctor() == 1
    printed = capsys.readouterr().out
    assert "not [installed]" in printed
    assert "mend: cumulet doctor prepare" in printed


def test_stopping_what_does_not_run_is_no_failure(monkeypatch, capsys):
    monkeypatch.setattr(cli, "stop_daemons", lambda: False)
    assert run_doctor("stop") == 0
    assert capsys.readouterr().out == "nothing of ours was running\n"
