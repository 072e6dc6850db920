import subprocess
import sys

import pytest
from tests.cli.conftest import plain_environment

from cumulet.cli import app
from cumulet.cli.app import ended
from cumulet.hypervisor import HypervisorError

SERVERS_LIBRARIES = ("sqlalchemy", "litestar", "uvicorn", "libvirt", "ovsdbapp", "alembic", "structlog")
SLOW_TO_LOAD = ("httpx", "anyio", "rich", "yaml", "websockets", "importlib.metadata", "cumulet.cli.console")
"""What only some commands need: each takes longer to load than a call of the API."""

QUICK_COMMANDS = pytest.mark.parametrize(
    "words", [("vm", "list"), ("vm", "get", "nobody"), ("network", "list")], ids=" ".join
)


def run_process(settings, *words, **options):
    argv = (sys.executable, "-m", "cumulet", *words)
    return subprocess.run(
        argv, env=plain_environment(settings), capture_output=True, text=True, check=False, **options
    )


def loaded_by(settings, *words):
    """Which modules a command loads."""
    code = "import sys; from cumulet.cli import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    argv = (sys.executable, "-c", code, *words)
    ran = subprocess.run(argv, env=plain_environment(settings), capture_output=True, text=True, check=True)
    assert "cumulet.cli.vms" in ran.stderr.split() or words[0] != "vm", ran.stderr
    return set(ran.stderr.split())


@QUICK_COMMANDS
def test_a_client_neither_loads_nor_needs_the_servers_libraries(settings, words):
    assert not set(SERVERS_LIBRARIES) & loaded_by(settings, *words)


@QUICK_COMMANDS
def test_what_people_ask_all_day_loads_nothing_that_only_other_commands_need(settings, words):
    assert not set(SLOW_TO_LOAD) & loaded_by(settings, *words)


def test_a_process_ends_with_the_exit_code_of_its_command(settings):
    assert run_process(settings, "vm", "list").returncode == 0
    assert run_process(settings, "vm", "get", "nobody").returncode == 3
    assert run_process(settings, "vm", "get").returncode == 2


def test_a_reader_that_has_seen_enough_is_no_failure(settings):
    argv = f"{sys.executable} -m cumulet completion bash | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ("bash", "-c", argv), env=plain_environment(settings), capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_wrong_settings_are_named(command, monkeypatch):
    monkeypatch.setenv("CUMULET_PROJEKT", "x")
    done = command("vm", "list")
    assert done.code == 2
    assert "unknown setting CUMULET_PROJEKT" in done.err


def test_what_fails_in_a_command_itself_is_told_with_its_reason(capsys):
    ended(HypervisorError("QEMU's user cannot get to /var/lib/cumulet"))
    assert capsys.readouterr().err == "cumulet: QEMU's user cannot get to /var/lib/cumulet\n"


def test_the_version_is_told(command):
    assert command("--version").out.startswith("cumulet 0.")


@pytest.mark.parametrize("name", [name for name in app if not name.startswith("-")])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_says_how_it_is_called(command, name, flag):
    said = command(name, flag)
    assert (said.code, f"Usage: cumulet {name}" in said.out) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_can_complete_the_commands(command, shell):
    done = command("completion", shell)
    assert done.code == 0
    for word in ("vm", "create", "--start-script-file", "machine-type", "timeline"):
        assert word in done.out


def test_colors_are_left_out_on_request(settings):
    shown = run_process(settings | {"NO_COLOR": "1", "FORCE_COLOR": ""}, "vm", "create", "--help").stdout
    assert "\x1b[3" not in shown


@pytest.mark.parametrize(
    ("words", "headings"),
    [
        (("data-center", "list"), ["NAME", "REGION"]),
        (("machine-type", "list"), ["NAME", "DATA"]),
        (("project", "list"), ["NAME"]),
        (("ssh-key", "list"), ["ID", "TYPE"]),
    ],
)
def test_lists_have_headings(cumulet, words, headings):
    assert cumulet(*words).out.split()[: len(headings)] == headings


def test_ssh_keys_are_kept_and_given_up(cumulet, public_key):
    added = cumulet("ssh-key", "add", str(public_key), "-o", "json").json[0]
    assert added["comment"] == "ann@home"
    assert added["fingerprint"] in cumulet("ssh-key", "list", "-o", "wide").out
    assert cumulet("ssh-key", "delete", added["id"]).code == 0
    assert cumulet("ssh-key", "delete", added["id"]).code == 3


def test_a_private_key_is_not_kept(cumulet, public_key):
    assert "was not sent" in cumulet("ssh-key", "add", str(public_key.with_suffix(""))).err


def test_the_projects_are_listed(cumulet):
    assert "default" in cumulet("project", "list", "-o", "name").out.split()
