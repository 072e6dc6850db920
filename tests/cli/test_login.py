"""Logging in: to a server that this machine trusts, to one with an authority of its own, and to no server at all."""

import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from cumulet.cli.authorities import find_authority, fingerprint, shown_certificates
from cumulet.cli.config import Config, config_file, read_config, write_config
from cumulet.errors import Invalid


@pytest.fixture
def url(settings, home, monkeypatch):
    """The shared server, called by somebody who has nothing of it."""
    monkeypatch.setenv("CUMULET_DATA_DIR", str(home / "nothing"))
    return f"http://{settings['CUMULET_LISTEN']}"


@pytest.fixture
def key(settings):
    return Path(settings["CUMULET_DATA_DIR"], "admin.key").read_text().strip()


def test_a_key_that_works_becomes_the_current_context(command, url, key):
    done = command("login", "--url", url, stdin=f"{key}\n")
    assert done.code == 0, done.err
    assert "owner@localhost" in done.err
    assert key not in done.out + done.err
    kept = read_config()
    assert (kept.current, kept.contexts["127.0.0.1"].project) == ("127.0.0.1", "default")
    assert command("vm", "list").code == 0


def test_the_name_and_the_project_can_be_chosen_and_the_next_login_replaces_the_key(command, url, key):
    other = command("login", "home", "--url", url, "--project", "nobodys", stdin=f"{key}\n")
    assert other.code == 2
    assert "expected default" in other.err
    assert command("login", "home", "--url", url, "--project", "default", stdin=f"{key}\n").code == 0
    assert command("login", "home", "--url", url, stdin=f"{key}\n").code == 0
    assert list(read_config().contexts) == ["home"]


def test_a_key_that_does_not_work_is_not_kept(command, url):
    refused = command("login", "--url", url, stdin="cumulet_wrong\n")
    assert refused.code == 1
    assert "not valid" in refused.err
    assert "wrong" not in refused.err
    assert not config_file().exists()


def test_without_a_terminal_the_url_has_to_be_said(command):
    assert "--url is required" in command("login", stdin="key\n").err


def test_a_login_to_nobody_says_so(command):
    assert (
        "no answer from http://127.0.0.1:1"
        in command("login", "--url", "http://127.0.0.1:1", stdin="k\n").err
    )
    assert (
        "no answer from https://127.0.0.1:1"
        in command("login", "--url", "https://127.0.0.1:1", stdin="k\n").err
    )


def openssl(*words, cwd):
    subprocess.run(("openssl", *words), cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and a server's certificate for 127.0.0.1 that it signed; the server shows both."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")
    openssl("req", "-x509", *curve, "ca.key", "-out", "ca.pem", "-subj", "/CN=my own", cwd=folder)
    openssl("req", *curve, "server.key", "-out", "server.csr", "-subj", "/CN=server", cwd=folder)
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.pem", cwd=folder)
    (folder / "chain.pem").write_text((folder / "server.pem").read_text() + (folder / "ca.pem").read_text())
    return folder


@contextmanager
def in_front_of(port: int, certificates: Path):
    """Speak TLS and hand what is said to a port of this machine; gives the URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "chain.pem", certificates / "server.key")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(line, server_side=True) as client:
                    relay(client, port)
            except OSError:
                continue  # who does not trust us hangs up

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def relay(client: ssl.SSLSocket, port: int) -> None:
    """Carry one request and its answer; the server closes after it."""
    request = client.recv(65536)
    if not request:
        return
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.sendall(request)
        while answer := server.recv(65536):
            client.sendall(answer)


@pytest.fixture
def secure_url(settings, url, certificates):
    with in_front_of(int(settings["CUMULET_LISTEN"].rpartition(":")[2]), certificates) as secure:
        yield secure


def test_an_unknown_authority_is_shown_before_any_key_is_asked_for(command, secure_url, key, certificates):
    refused = command("login", "--url", secure_url, stdin=f"{key}\n")
    assert refused.code == 1
    assert f"--fingerprint {fingerprint((certificates / 'ca.pem').read_text())}" in refused.err
    assert not config_file().exists()


@pytest.mark.parametrize("pinned", ["ca.pem", "server.pem"])
def test_who_gives_its_fingerprint_trusts_that_certificate_alone(
    command, secure_url, key, certificates, pinned
):
    certificate = (certificates / pinned).read_text()
    done = command("login", "--url", secure_url, "--fingerprint", fingerprint(certificate), stdin=f"{key}\n")
    assert done.code == 0, done.err
    (kept,) = read_config().contexts.values()
    assert kept.authority == certificate
    assert command("vm", "list").code == 0


def test_a_server_that_changed_its_authority_hears_no_key_any_more(
    command, secure_url, key, certificates, tmp_path
):
    shown = fingerprint((certificates / "ca.pem").read_text())
    command("login", "c", "--url", secure_url, "--fingerprint", shown, stdin=f"{key}\n")
    other = tmp_path / "other.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            str(tmp_path / "k"), "-out", str(other), "-subj", "/CN=other", cwd=tmp_path)  # fmt: skip
    changed = msgspec.structs.replace(read_config().contexts["c"], authority=other.read_text())
    write_config(Config(current="c", contexts={"c": changed}))
    refused = command("vm", "list")
    assert refused.code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in refused.err
    assert "cumulet login --url" in refused.err


def test_a_fingerprint_of_another_certificate_is_refused_with_those_that_are_shown(secure_url, certificates):
    assert len(shown_certificates(secure_url)) == 2
    with pytest.raises(Invalid, match=fingerprint((certificates / "ca.pem").read_text())):
        find_authority(secure_url, "AB:CD")


@pytest.mark.parametrize("written", ["sha256:{}", "SHA256 Fingerprint={}", "{}"])
def test_a_fingerprint_may_be_written_as_other_programs_do(secure_url, certificates, written):
    authority = (certificates / "ca.pem").read_text()
    given = written.format(fingerprint(authority).lower())
    assert find_authority(secure_url, given) == authority
