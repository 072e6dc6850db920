"""A certificate for a server that no public authority vouches for, from an authority of its own."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cumulet.errors import Invalid
from cumulet.settings import TlsFiles

AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 800
"""Under the 825 days beyond which some clients take no certificate."""
AUTHORITY: Final = "authority.pem"
AUTHORITY_KEY: Final = "authority.key"
EARLIER: Final = "authority-until-{}.pem"
"""Those that another has followed."""
LATE: Final = timedelta(hours=1)
"""How far a client's clock may be behind ours."""
Builder = x509.CertificateBuilder


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """What was made."""

    files: TlsFiles
    authority: Path
    """The certificate (PEM) to be trusted by clients."""
    fingerprint: str
    """The authority's SHA-256, as openssl writes it: AB:CD:…"""


@dataclass(frozen=True, slots=True)
class Authority:
    """Who vouches, with what they sign with."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_self_signed(folder: Path, names: Sequence[str], now: datetime) -> SelfSigned:
    """Make a key and a certificate for names and addresses, and an authority that vouches for it.

    The authority is made once and then kept: who trusts it trusts the next certificate too. It is shown with the
    certificate, so that who knows its fingerprint can take it from the server. Invalid for what is no name.
    """
    subjects = [subject(name) for name in names]
    authority = ensure_authority(folder, now)
    key = ec.generate_private_key(ec.SECP256R1())
    about = begun(names[0], key.public_key(), now, days=SERVER_DAYS).add_extension(
        x509.SubjectAlternativeName(subjects), critical=False
    )
    certificate = vouched_for(authority, about, ExtendedKeyUsageOID.SERVER_AUTH)
    files = TlsFiles(folder / "server.pem", folder / "server.key")
    write_pair(files, key, certificate, authority.certificate)
    digest = authority.certificate.fingerprint(hashes.SHA256())
    return SelfSigned(files, folder / AUTHORITY, ":".join(f"{byte:02X}" for byte in digest))


def vouch_for_host(folder: Path, request: str, name: str, now: datetime, *, serves: bool) -> str:
    """Answer a host's request with a certificate for its name (both PEM).

    By it the host proves who it is to whom it asks, and, if it `serves`, to others that ask it. What the request says of
    itself counts for nothing but that its key is the host's. Invalid when it is none.
    """
    try:
        asked = x509.load_pem_x509_csr(request.encode())
    except ValueError:
        asked = None
    key = asked.public_key() if asked and asked.is_signature_valid else None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Invalid.field(
            "request", request, "a request for a certificate of an elliptic curve's key, in PEM"
        )
    authority = ensure_authority(folder, now)
    purposes = (ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if serves else []))
    certificate = vouched_for(authority, begun(name, key, now, days=SERVER_DAYS), *purposes)
    return certificate.public_bytes(Encoding.PEM).decode()


def ensure_client(
    authority: Path, folder: Path, name: str, now: datetime, *, renewed: timedelta
) -> tuple[str, str, str]:
    """Find a key and a certificate, made in a folder now unless they are there and last, by which a client proves who it is.

    Say where they are, and whom it is to believe: whoever the same authority vouches for. A certificate that ends within
    `renewed`, or is of an earlier authority, is made anew.
    """
    files, believed = TlsFiles(folder / "client.pem", folder / "client.key"), folder / "believed.pem"
    signer = ensure_authority(authority, now)
    if not _lasts(files, signer, now + renewed):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        about = begun(name, key.public_key(), now, days=SERVER_DAYS)
        write_pair(files, key, vouched_for(signer, about, ExtendedKeyUsageOID.CLIENT_AUTH))
    write_whole(believed, believed_authorities(authority, now).encode(), mode=0o644)
    return str(files.key), str(files.certificate), str(believed)


def _lasts(files: TlsFiles, signer: Authority, until: datetime) -> bool:
    """Whether there is a certificate of this authority that is good until then."""
    if not (files.key.exists() and files.certificate.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    return certificate.issuer == signer.certificate.subject and certificate.not_valid_after_utc > until


def believed_authorities(folder: Path, now: datetime) -> str:
    """List (PEM) whose certificates are to be believed: those of who vouches now, and of its predecessors until they end."""
    ensure_authority(folder, now)
    earlier = sorted(folder.glob(EARLIER.format("*")))
    found = [x509.load_pem_x509_certificate(path.read_bytes()) for path in (folder / AUTHORITY, *earlier)]
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found if one.not_valid_after_utc > now)


def vouched_for(authority: Authority, about: Builder, *purposes: x509.ObjectIdentifier) -> x509.Certificate:
    """Sign a certificate that is no authority's."""
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        about.issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def ensure_authority(folder: Path, now: datetime) -> Authority:
    """Find who vouches, or make one; whoever asks for it at the same time, on whichever machine, finds the same."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if found := find_authority(folder, now):
        return found
    with (folder / "authority.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return find_authority(folder, now) or make_authority(folder, now)


def find_authority(folder: Path, now: datetime) -> Authority | None:
    """Read the authority that is there; None when there is none that outlives a new certificate.

    Invalid when it is not whole: clients trust it, so that it must not be replaced unasked.
    """
    if not (folder / AUTHORITY).exists():
        return None
    try:
        certificate = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        key = load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), password=None)
    except (OSError, TypeError, ValueError) as problem:  # TypeError when it wants a password
        raise Invalid(
            f"{folder / AUTHORITY} cannot vouch for a certificate ({problem}): bring {AUTHORITY_KEY} back beside it, "
            "or remove it for a new authority, which clients must then be told of"
        ) from None
    outlives = certificate.not_valid_after_utc > now + timedelta(days=SERVER_DAYS)
    return Authority(certificate, key) if outlives and isinstance(key, ec.EllipticCurvePrivateKey) else None


def make_authority(folder: Path, now: datetime) -> Authority:
    """Make an authority that vouches for servers, and for no further authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"Cumulet's authority of {now:%Y-%m-%d}"
    certificate = (
        begun(name, key.public_key(), now, days=AUTHORITY_DAYS)
        .issuer_name(named(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    if (folder / AUTHORITY).exists():
        predecessor = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        kept = folder / EARLIER.format(f"{predecessor.not_valid_after_utc:%Y-%m-%d}")
        write_whole(kept, (folder / AUTHORITY).read_bytes(), mode=0o644)
    write_pair(TlsFiles(folder / AUTHORITY, folder / AUTHORITY_KEY), key, certificate)
    return Authority(certificate, key)


def begun(name: str, key: ec.EllipticCurvePublicKey, now: datetime, *, days: int) -> Builder:
    """Begin a certificate with what all have."""
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LATE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def named(name: str) -> x509.Name:
    """Write a name as certificates have it; they have room for 64 characters."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Say what a key is for: to sign certificates, or to sign what a server says."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def subject(name: str) -> x509.GeneralName:
    """Read what a server is called: an address or a name."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    if not name.isascii() or not all(
        part.replace("-", "").isalnum() for part in name.removeprefix("*.").split(".")
    ):
        raise Invalid.field("NAMES", name, "a name such as cloud.example.org, or an IP address")
    return x509.DNSName(name)


def write_pair(files: TlsFiles, key: ec.EllipticCurvePrivateKey, *certificates: x509.Certificate) -> None:
    """Write a key, for its owner's eyes alone, and its certificate with those above it, each whole or not at all."""
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_whole(files.key, secret, mode=0o600)
    write_whole(
        files.certificate, b"".join(one.public_bytes(Encoding.PEM) for one in certificates), mode=0o644
    )


def write_whole(path: Path, content: bytes, *, mode: int) -> None:
    """Put a file in the place of another."""
    new = path.with_suffix(f"{path.suffix}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)
