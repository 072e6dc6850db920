"""Whom a client trusts to be the server it means: this machine's authorities, or one alone that was shown to it once.

A cloud on one's own machines often has an authority of its own. Its fingerprint is printed where it is made; who gives it
to `cumulet login` has its certificate found among those that the server shows, and from then on that one alone counts.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

from cumulet.errors import Invalid, Unavailable

HTTPS_PORT: Final = 443
SECONDS: Final = 10.0


def trusting(authority: str) -> ssl.SSLContext:
    """Trust one certificate (PEM) alone, or, where it is empty, those that this machine does; Invalid when it is none."""
    if not authority:
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cadata=authority)
    except ssl.SSLError:
        raise Invalid("the authority's certificate is not one in PEM") from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a server's own certificate may be what was shown
    context.check_hostname = bool(context.get_ca_certs())  # and is its own whatever one calls it
    return context


def is_trusted(url: str) -> bool:
    """Whether this machine's own authorities vouch for the server at a URL; Unavailable when none answers by TLS."""
    try:
        shake_hands(url, ssl.create_default_context()).close()
    except Unavailable as problem:
        if isinstance(problem.__cause__, ssl.SSLCertVerificationError):
            return False
        raise
    return True


def shown_certificates(url: str) -> list[str]:
    """Read the certificates (PEM) that the server at a URL shows, its own first, believing none."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    with shake_hands(url, anyone) as line:
        chain = line._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # noqa: SLF001 - public from Python 3.13 on
    return [one if isinstance(one, str) else one.public_bytes() for one in chain or ()]


def shake_hands(url: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Open a connection by TLS to the server at a URL; Unavailable, from what it was that failed."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        with socket.create_connection((host, parts.port or HTTPS_PORT), timeout=SECONDS) as line:
            return context.wrap_socket(line, server_hostname=host)  # which takes the connection out of `line`
    except (OSError, ValueError) as problem:  # the latter for what cannot be a port or a host's name
        raise Unavailable(f"no answer from {url} ({problem})") from problem


def fingerprint(certificate: str) -> str:
    """Write the SHA-256 of a certificate (PEM) as openssl does, pairs of digits with colons between."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest().upper()
    return ":".join(re.findall("..", digest))


def find_authority(url: str, wanted: str) -> str:
    """Give the certificate (PEM) with a fingerprint among those that a server shows; Invalid names those that it does."""
    shown = {fingerprint(one): one for one in shown_certificates(url)}
    given = re.sub("^SHA-?256[:= ]?(FINGERPRINT=)?|[^0-9A-F]", "", wanted.upper())
    for one, certificate in shown.items():
        if one.replace(":", "") == given:
            return certificate
    raise Invalid.field(
        "--fingerprint", wanted, f"that of a certificate that {url} shows, {' or '.join(shown)}"
    )
