"""A server that is spoken to in secret: the command that makes what it takes, and a real process that serves with it."""

import signal
import ssl
import subprocess
import sys

import httpx
import pytest
from tests.cli.conftest import START_SECONDS, own_settings, plain_environment, serving, url_of
from tests.waiting import eventually

from cumulet.settings import read_settings

pytestmark = pytest.mark.slow


@pytest.fixture
def secured(tmp_path, command, monkeypatch):
    """The settings of a server of one's own with what the command said it shall have."""
    settings = own_settings(tmp_path / "data")
    monkeypatch.setenv("CUMULET_DATA_DIR", settings["CUMULET_DATA_DIR"])
    printed = command("tls", "self-signed").out
    said = dict(line.strip().split("=", 1) for line in printed.splitlines() if "=" in line)
    return settings | said


def authority(settings):
    return read_settings(settings).data_dir / "tls/authority.pem"


def get(settings, path):
    trust = ssl.create_default_context(cafile=authority(settings))
    return httpx.get(f"{url_of(settings)}{path}", verify=trust)


def fingerprint(path):
    command = ("openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256")
    return (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition("=")[2].strip()
    )


def test_a_server_runs_with_what_the_command_made_and_takes_the_next_one_at_a_hangup(secured, command):
    with serving(secured) as server:
        assert get(secured, "/v1/vms/data-centers").is_success
        before = fingerprint(secured["CUMULET_TLS_CERT"])
        command("tls", "self-signed", "127.0.0.1")
        assert fingerprint(secured["CUMULET_TLS_CERT"]) != before
        server.send_signal(signal.SIGHUP)
        log = read_settings(secured).data_dir / "serve.log"
        eventually(lambda: "the certificate is new" in log.read_text())
        assert get(secured, "/v1/vms/data-centers").is_success


@pytest.fixture
def owner(command, monkeypatch):
    """Run commands with the settings of a server, as its owner on the same machine does."""

    def use(settings):
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return command

    return use


def test_its_owner_calls_it_on_the_same_machine_whatever_names_the_certificate_has(secured, command, owner):
    command("tls", "self-signed", "cloud.example")
    with serving(secured):
        cumulet = owner(secured)
        assert cumulet("vm", "create", "secret", "--image", "micro", "--wait").code == 0
        assert cumulet("vm", "connect", "secret").out.startswith(
            f"https://{secured['CUMULET_LISTEN']}/console/"
        )
        assert f"try it at {url_of(secured)}/docs" in cumulet("up").out


def test_others_call_it_by_its_authority_and_log_in_by_its_fingerprint(secured, command, monkeypatch):
    key = (read_settings(secured).data_dir / "admin.key").read_text
    with serving(secured):
        monkeypatch.setenv("CUMULET_DATA_DIR", "/nowhere")
        monkeypatch.setenv("CUMULET_URL", url_of(secured))
        monkeypatch.setenv("CUMULET_API_KEY", key().strip())
        assert "self-signed certificate in certificate chain" in command("vm", "list").err
        monkeypatch.setenv("CUMULET_CA", str(authority(secured)))
        assert command("vm", "list").code == 0
        monkeypatch.setenv("CUMULET_CA", "/nowhere.pem")
        assert "CUMULET_CA: cannot read '/nowhere.pem'" in command("vm", "list").err
        for name in ("CUMULET_URL", "CUMULET_API_KEY", "CUMULET_CA"):
            monkeypatch.delenv(name)
        known = fingerprint(authority(secured))
        told = command("login", "--url", url_of(secured), "--fingerprint", known, stdin=key())
        assert (told.code, command("vm", "list").code) == (0, 0), told.err


def test_a_console_in_a_terminal_goes_over_it(secured, owner):
    with serving(secured):
        owner(secured)("vm", "create", "typed", "--image", "micro", "--wait")
        argv = (sys.executable, "-m", "cumulet", "vm", "console", "typed")
        with subprocess.Popen(argv, env=plain_environment(secured), stdin=-1, stdout=-1, stderr=-1) as seat:
            seat.stdin.write(b"a line\n")
            seat.stdin.flush()
            assert seat.stdout.read(7) == b"a line\n"
            seat.kill()


def test_the_authority_is_made_once_and_its_fingerprint_is_printed(secured, command):
    known = fingerprint(authority(secured))
    again = command("tls", "self-signed", "cloud.example", "*.cloud.example", "192.0.2.7", "fd00::7").out
    assert f"SHA-256 {known}" in again
    assert fingerprint(authority(secured)) == known


def test_an_authority_whose_key_is_away_is_not_replaced(secured, command):
    known = fingerprint(authority(secured))
    authority(secured).with_suffix(".key").unlink()
    refused = command("tls", "self-signed")
    assert (refused.code, fingerprint(authority(secured))) == (2, known)
    assert "bring authority.key back beside it" in refused.err
    authority(secured).unlink()
    assert command("tls", "self-signed").code == 0
    assert fingerprint(authority(secured)) != known


def test_keys_are_for_their_owner_alone(secured):
    modes = {path.name: path.stat().st_mode & 0o777 for path in authority(secured).parent.iterdir()}
    assert (authority(secured).parent / "authority.lock").read_bytes() == b""
    del modes["authority.lock"]
    assert modes == {"authority.pem": 0o644, "authority.key": 0o600, "server.pem": 0o644, "server.key": 0o600}


def test_what_is_no_name_is_refused_before_anything_is_made(tmp_path, command, monkeypatch):
    monkeypatch.setenv("CUMULET_DATA_DIR", str(tmp_path / "data"))
    refused = command("tls", "self-signed", "https://cloud.example")
    assert (refused.code, (tmp_path / "data").exists()) == (2, False)
    assert "NAMES: 'https://cloud.example' is not accepted; expected a name such as" in refused.err


def serve(settings):
    """Have a server refuse to start."""
    return subprocess.run(
        (sys.executable, "-m", "cumulet", "serve"),
        env=plain_environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )


def test_a_server_does_not_show_keys_to_a_network_by_mistake(tmp_path):
    refused = serve(own_settings(tmp_path) | {"CUMULET_LISTEN": "0.0.0.0:0"})
    assert refused.returncode == 2
    assert "beyond this machine a server without TLS shows keys and passwords" in refused.stderr


def test_a_server_without_its_certificate_does_not_start(secured):
    refused = serve(secured | {"CUMULET_TLS_CERT": "/nowhere.pem"})
    assert refused.returncode == 2
    assert "CUMULET_TLS_CERT: '/nowhere.pem' is not accepted" in refused.stderr
