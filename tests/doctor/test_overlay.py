"""A host's place in the network between hosts, and who vouches for it."""

import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cumulet.doctor import daemon_specs
from cumulet.doctor.daemon_specs import ANSWERS, CENTRAL, roster
from cumulet.doctor.overlay import (
    Certified,
    Overlay,
    Proof,
    identity,
    is_central,
    note_overlay,
    read_certificate,
    read_overlay,
    request_certificate,
    take_certificate,
)
from cumulet.errors import Invalid
from cumulet.self_signed import SERVER_DAYS, believed_authorities, vouch_for_host

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FAR = Overlay("192.0.2.2", "ssl:192.0.2.1:6642")
TOGETHER = Overlay("192.0.2.2", "ssl:192.0.2.1:6642,ssl:192.0.2.2:6642", ("192.0.2.1", "192.0.2.2"))


def test_a_place_in_the_network_is_remembered(tmp_path):
    assert read_overlay(tmp_path) is None
    for overlay in (Overlay("192.0.2.1"), FAR, TOGETHER):
        note_overlay(overlay, tmp_path)
        assert read_overlay(tmp_path) == overlay


@pytest.mark.parametrize(
    ("overlay", "central"), [(None, True), (Overlay("192.0.2.1"), True), (FAR, False), (TOGETHER, True)]
)
def test_ovns_databases_run_where_nobody_says_that_they_are_elsewhere(monkeypatch, overlay, central):
    assert is_central(overlay) is central
    monkeypatch.setattr(daemon_specs, "read_overlay", lambda: overlay)
    assert {*roster()} == {*ANSWERS} - (frozenset() if central else CENTRAL)


def test_a_hosts_key_is_made_once_for_its_owner_alone(tmp_path):
    first, second = (request_certificate(name, Proof.HOST, tmp_path) for name in ("host-1", "host-2"))
    (key,) = tmp_path.iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    one, other = (x509.load_pem_x509_csr(request.encode()) for request in (first, second))
    assert one.public_key() == other.public_key()


CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@pytest.mark.parametrize(("serves", "purposes"), [(False, {CLIENT}), (True, {CLIENT, SERVER})])
def test_a_host_is_vouched_for_by_the_name_that_it_is_known_by(tmp_path, serves, purposes):
    request = request_certificate("somebody-else", Proof.HOST, tmp_path)
    pem = vouch_for_host(tmp_path / "authority", request, "host-1", NOW, serves=serves)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "host-1"
    assert {*certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value} == purposes
    authority = believed_authorities(tmp_path / "authority", NOW)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))


def test_what_is_no_request_is_refused(tmp_path):
    with pytest.raises(Invalid, match="request"):
        vouch_for_host(tmp_path, "", "host-1", NOW, serves=False)


def test_a_request_by_another_kind_of_key_is_refused(tmp_path):
    made = (
        "openssl",
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=host-1",
        "-keyout",
        tmp_path / "key",
    )
    request = subprocess.run(made, capture_output=True, text=True, check=True).stdout
    with pytest.raises(Invalid, match="elliptic"):
        vouch_for_host(tmp_path, request, "host-1", NOW, serves=False)


def test_a_certificate_is_kept_with_its_end_and_its_key_is_touched_last(tmp_path):
    """OVS's programs look at a certificate anew only once its key has a new time."""
    request = request_certificate("host-1", Proof.CENTRAL, tmp_path)
    assert read_certificate(Proof.CENTRAL, tmp_path) is None
    files = identity(Proof.CENTRAL, tmp_path)
    os.utime(files.key, (0, 0))
    certificate = vouch_for_host(tmp_path / "authority", request, "host-1", NOW, serves=True)
    take_certificate(Proof.CENTRAL, certificate, "believed", "heard", tmp_path)
    assert read_certificate(Proof.CENTRAL, tmp_path) == Certified(
        NOW + timedelta(days=SERVER_DAYS), "believed", "heard"
    )
    assert files.key.stat().st_mtime_ns >= files.certificate.stat().st_mtime_ns
