"""TLS as those who connect see it, OpenSSL's own client among them, on real sockets."""

import json
import shutil
import socket
import ssl
import subprocess
from contextlib import ExitStack
from datetime import UTC, datetime

import httpx
import pytest
from tests.rest.conftest import serving
from tests.rest.test_connections import UNFINISHED, heard
from tests.rest.test_errors import told
from tests.rest.toys import TOYS, admit
from tests.waiting import PATIENCE_S, eventually

from cumulet.errors import Invalid
from cumulet.rest import connections, create_app, tls
from cumulet.rest.connections import Phase
from cumulet.rest.tls import Certificate, read_context
from cumulet.self_signed import make_self_signed
from cumulet.settings import TlsFiles

ASK = b"GET /v1/toys HTTP/1.1\r\nhost: x\r\n\r\n"


def make(folder, *names):
    return make_self_signed(folder, names or ("127.0.0.1", "cloud.example"), datetime.now(UTC))


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "tls")


@pytest.fixture
def app(database):
    return create_app(database, admit=admit, provided={}, operations=TOYS)


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(connections, "SECONDS", {Phase.HEAD: 0.2, Phase.BODY: 0.3})
    monkeypatch.setattr(connections, "LEAVE_SECONDS", 0.2)
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.3)


def raw(url):
    return socket.create_connection(("127.0.0.1", httpx.URL(url).port), timeout=PATIENCE_S)


def dial(url, made, words=b""):
    line = trusting(made).wrap_socket(raw(url), server_hostname="127.0.0.1")
    line.sendall(words)
    return line


def trusting(made):
    context = ssl.create_default_context(cafile=made.authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def get(url, made):
    return httpx.get(f"{url}/v1/toys", verify=trusting(made))


def serial(line):
    return line.getpeercert()["serialNumber"]


def s_client(url, made, *options, typed=""):
    """What OpenSSL's client says of the door."""
    where = f"127.0.0.1:{httpx.URL(url).port}"
    command = ("openssl", "s_client", "-connect", where, "-CAfile", made.authority, *options)
    done = subprocess.run(command, input=typed, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def test_who_trusts_the_authority_is_served(app, made):
    with serving(app, certificate=Certificate(made.files)) as url:
        assert get(url, made).status_code == 200


def test_openssl_verifies_the_chain_and_the_name_and_is_shown_the_authority(app, made):
    with serving(app, certificate=Certificate(made.files)) as url:
        said = s_client(url, made, "-verify_hostname", "cloud.example", "-showcerts", "-x509_strict")
        assert "Verify return code: 0 (ok)" in said
        assert said.count("BEGIN CERTIFICATE") == 2
        assert "hostname mismatch" in s_client(url, made, "-verify_hostname", "other.example").lower()


@pytest.mark.parametrize(
    ("version", "taken"),
    [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)],
    ids=["1.1", "1.2", "1.3"],
)
def test_tls_begins_at_1_2(app, made, version, taken):
    with serving(app, certificate=Certificate(made.files)) as url:
        said = s_client(url, made, version, "-cipher", "ALL:@SECLEVEL=0")
        assert ("Verify return code: 0 (ok)" in said and "Cipher is (NONE)" not in said) is taken


def test_a_client_cannot_begin_the_handshake_anew(app, made):
    with serving(app, certificate=Certificate(made.files)) as url:
        assert "no renegotiation" in s_client(url, made, "-tls1_2", typed="R\n")


def test_who_speaks_plainly_to_it_is_told_so(app, made):
    with serving(app, certificate=Certificate(made.files)) as url, raw(url) as line:
        line.sendall(ASK)
        head, _, body = heard(line).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert json.loads(body)["message"] == "this port speaks TLS; begin the URL with https://"


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01"], ids=["nothing", "a byte or three"])
def test_a_handshake_that_is_not_finished_in_its_time_keeps_nobody_out(hasty, app, made, begun):
    with ExitStack() as stack, serving(app, most=8, certificate=Certificate(made.files)) as url:
        lines = [stack.enter_context(raw(url)) for _ in range(10)]  # an eighth more than 8, and one
        for line in lines:
            line.sendall(begun)
        with pytest.raises(httpx.TransportError):
            get(url, made)
        for line in lines:
            assert heard(line) == b""
        assert get(url, made).status_code == 200


@pytest.mark.parametrize(("begun", "missing"), [("nothing", "head"), ("a head", "head"), ("a body", "body")])
def test_requests_keep_their_limits_within_tls(hasty, app, made, begun, missing):
    with (
        serving(app, certificate=Certificate(made.files)) as url,
        dial(url, made, UNFINISHED[begun]) as line,
    ):
        head, _, body = heard(line).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert f"the {missing} of this request was incomplete" in json.loads(body)["message"]


def test_one_connection_too_many_is_told_so_within_tls(app, made, monkeypatch):
    monkeypatch.setattr(connections, "LEAVE_SECONDS", 0.2)
    with ExitStack() as stack, serving(app, most=5, certificate=Certificate(made.files)) as url:
        lines = [stack.enter_context(dial(url, made)) for _ in range(5)]
        assert told(get(url, made)) == (503, 14)
        lines[0].close()
        eventually(lambda: get(url, made).status_code == 200)


def test_the_server_ends_though_somebody_does_not_take_leave(hasty, app, made, monkeypatch):
    monkeypatch.setattr(tls, "TAKE_SECONDS", 10_000)
    with ExitStack() as stack:
        with serving(app, certificate=Certificate(made.files)) as url:
            line = stack.enter_context(dial(url, made))
        assert heard(line) == b""


def test_a_renewed_certificate_is_shown_to_who_comes_and_no_connection_is_dropped(app, made):
    with serving(app, certificate=Certificate(made.files)) as url, dial(url, made, ASK) as old:
        assert old.recv(12) == b"HTTP/1.1 200"
        make(made.authority.parent)
        with dial(url, made, ASK) as new:
            assert new.recv(12) == b"HTTP/1.1 200"
            assert serial(new) != serial(old)
        old.sendall(ASK)
        assert old.recv(4096)


def test_files_that_do_not_go_together_yet_change_nothing(app, made, tmp_path):
    other = make(tmp_path / "other")
    certificate = Certificate(made.files)
    with serving(app, certificate=certificate) as url:
        shutil.copy(other.files.certificate, made.files.certificate)
        assert get(url, made).status_code == 200
        made.files.key.unlink()
        assert get(url, made).status_code == 200
        shutil.copy(other.files.key, made.files.key)
        assert get(url, other).status_code == 200


def test_files_that_will_not_do_are_named_with_their_setting(made, tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(Invalid, match=f"CUMULET_TLS_KEY: '{missing}' is not accepted.*No such file"):
        read_context(TlsFiles(made.files.certificate, missing))
    with pytest.raises(Invalid, match=r"CUMULET_TLS_CERT: .*KEY_VALUES_MISMATCH"):
        read_context(TlsFiles(made.files.certificate, made.authority.with_suffix(".key")))
    with pytest.raises(Invalid, match=r"CUMULET_TLS_CERT: .*the server's certificate first"):
        read_context(TlsFiles(made.files.key, made.files.key))


def test_a_key_with_a_password_is_refused_without_asking_for_it(made, tmp_path):
    locked = tmp_path / "locked.key"
    command = ("openssl", "pkey", "-in", made.files.key, "-aes256", "-passout", "pass:secret", "-out", locked)
    subprocess.run(command, check=True)
    with pytest.raises(Invalid, match=r"CUMULET_TLS_KEY: .*without a password"):
        read_context(TlsFiles(made.files.certificate, locked))
