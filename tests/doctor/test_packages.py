import pytest

from cumulet.doctor.command import CommandFailed
from cumulet.doctor.packages import find_missing, install_packages, parse_installed


def test_only_what_is_wholly_installed_counts():
    listing = "tini installed\nethtool config-files\novn-host half-configured\nbase-files installed\n"
    assert parse_installed(listing) == {"tini", "base-files"}


@pytest.fixture
def apt(monkeypatch, tmp_path):
    """An apt-get that writes down how it was called; a test appends what it does."""
    script = tmp_path / "apt-get"
    script.write_text(f'#!/bin/sh\necho "$DEBIAN_FRONTEND $@" >>{tmp_path}/calls\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return script


def calls(apt):
    return [line.split() for line in (apt.parent / "calls").read_text().splitlines()]


def test_packages_are_installed_without_a_question_and_progress_is_told(apt):
    apt.write_text(apt.read_text() + "echo Reading lists...; echo 'Setting up tini (0.19.0-1+b3) ...'\n")
    told = []
    install_packages(["tini"], told.append)
    assert told == ["installing 1 packages: tini", "tini (0.19.0-1+b3)"]
    (call,) = calls(apt)
    assert call[0] == "noninteractive"
    assert call[-4:] == ["install", "--yes", "--no-install-recommends", "tini"]


def test_stale_lists_are_refreshed_once(apt):
    fails_before_update = (
        f'case "$*" in *update*) touch {apt.parent}/fresh;; *) test -e {apt.parent}/fresh;; esac\n'
    )
    apt.write_text(apt.read_text() + fails_before_update)
    install_packages(["tini"], lambda _: None)
    assert [next(word for word in call if word in {"install", "update"}) for call in calls(apt)] == [
        "install",
        "update",
        "install",
    ]


def test_what_apt_said_last_is_in_the_failure(apt):
    apt.write_text(apt.read_text() + "echo 'E: Unable to locate package tinny'; exit 100\n")
    with pytest.raises(CommandFailed, match="tinny"):
        install_packages(["tinny"], lambda _: None)


def test_another_distribution_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandFailed, match="neither Debian nor Ubuntu"):
        find_missing(["tini"])


def test_what_is_not_installed_is_found():
    assert find_missing(["dpkg", "no-such-package"]) == ["no-such-package"]
