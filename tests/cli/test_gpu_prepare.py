"""`cumulet gpu prepare`, on a made-up host."""

import io

import pytest
from tests.doctor.gpus.hosts import Host

from cumulet.cli import gpu_prepare as cli
from cumulet.cli import gpus
from cumulet.cli.app import run
from cumulet.doctor.gpus import files
from cumulet.doctor.gpus.plan import decide
from cumulet.doctor.gpus.prepare import carry_out, give_back


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with a card that nouveau has; the command works on it."""
    host = Host(tmp_path)
    host.card(1, driver="nouveau")
    monkeypatch.setattr(cli, "plan_gpus", lambda wish: decide(host.survey(), wish))
    monkeypatch.setattr(cli, "prepare_gpus", lambda wish, report: carry_out(wish, tmp_path, host.run, report))
    monkeypatch.setattr(cli, "undo_gpus", lambda report: give_back(tmp_path, host.run, report))
    return host


def prepare(*words):
    return gpus.app(["prepare", *words], result_action="return_value")


def test_a_dry_run_shows_the_plan_and_the_command_that_does_it_and_changes_nothing(host, capsys):
    before = host.files()
    assert prepare("0000:01:00.0", "--hugepages", "8", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "to do" in printed
    assert "to do this, run: cumulet gpu prepare 0000:01:00.0 --hugepages 8" in printed
    assert host.files() == before


def test_with_yes_it_is_done_told_and_what_is_left_is_said(host, capsys):
    assert prepare("--yes") == 0
    told = capsys.readouterr()
    assert f"writing /{files.BINDER}" in told.err
    assert told.out.index("to do") < told.out.index("needs a reboot")
    assert told.out.endswith("reboot the host, then run: cumulet gpu prepare\n")


def test_where_nobody_can_be_asked_nothing_is_done(host, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    before = host.files()
    assert run(["gpu", "prepare"]) == 2
    assert "give --yes to do this, or --dry-run to only see it" in capsys.readouterr().err
    assert host.files() == before


@pytest.mark.parametrize(("answer", "done"), [("y", True), ("Yes", True), ("", False), ("n", False)])
def test_somebody_at_a_terminal_is_asked(host, monkeypatch, answer, done):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert prepare() == int(not done)
    assert (files.BINDER in host.files()) == done


def test_as_long_as_something_is_the_operators_to_do_it_ends_with_1(host, capsys):
    host.write("proc/cmdline", "quiet")
    (host.root / "sys/class/iommu/dmar0").rmdir()
    (host.root / "sys/firmware/acpi/tables/DMAR").unlink()
    assert prepare("--dry-run") == 0
    assert prepare("--yes") == 1
    assert "some steps are yours to do" in capsys.readouterr().out


def test_undoing_says_what_is_left_to_do(host, capsys):
    prepare("--yes")
    assert prepare("--undo") == 0
    told = capsys.readouterr()
    assert f"removing /{files.BINDER}" in told.err
    assert "reboot the host" in told.out
    assert prepare("--undo") == 0
    assert "nothing of ours was there" in capsys.readouterr().out
