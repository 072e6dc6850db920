"""What is believed of an identity provider's word: nothing that is not for us, of now, of this sign-in and signed by it."""

from __future__ import annotations

import time

import httpx
import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from cumulet.errors import Forbidden, Invalid, Unavailable
from cumulet.projects import identity_provider
from cumulet.projects.identity_provider import Attempt, IdentityProvider
from cumulet.settings import OidcSettings, read_settings

ISSUER = "https://id.example"
ATTEMPT = Attempt("of this browser")
KEY = RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})
PUBLIC = {"keys": [KEY.as_dict(private=False)]}
FAR_AHEAD = 2**33
"""A time, in seconds."""
BACK = "https://cloud.example/login/sso/done"


@pytest.fixture
def provider() -> IdentityProvider:
    return IdentityProvider(OidcSettings(ISSUER, "cumulet", None, name="", provisions=False))


def claims(**other: object) -> dict[str, object]:
    now = int(time.time())
    right = {
        "iss": ISSUER,
        "sub": "1",
        "aud": "cumulet",
        "exp": now + 300,
        "iat": now,
        "nonce": ATTEMPT.nonce,
        "email": "Ann@example.org",
        "email_verified": True,
    }
    return {name: value for name, value in (right | other).items() if value is not None}


@pytest.fixture
def answering(monkeypatch):
    """Have the provider give an ID token."""

    def answer(token: str, issuer: str = ISSUER) -> None:
        there = {
            f"{ISSUER}/.well-known/openid-configuration": {
                "issuer": issuer,
                "authorization_endpoint": f"{ISSUER}/auth",
                "token_endpoint": f"{ISSUER}/token",
                "jwks_uri": f"{ISSUER}/keys",
            },
            f"{ISSUER}/keys": PUBLIC,
            f"{ISSUER}/token": {"id_token": token},
        }

        def request(method: str, url: str, **_: object) -> httpx.Response:
            asked = httpx.Request(method, url)
            return httpx.Response(200, content=msgspec.json.encode(there[url]), request=asked)

        monkeypatch.setattr(identity_provider.httpx, "request", request)

    return answer


def signed(said: dict[str, object], key=KEY, alg: str = "RS256") -> str:
    return jwt.encode({"alg": alg, "kid": "1"}, said, key)


def test_a_right_word_is_believed(provider, answering):
    answering(signed(claims(aud=["cumulet"])))
    found = provider.identify("code", ATTEMPT, BACK)
    assert (found.iss, found.sub, found.verified_email) == (ISSUER, "1", "ann@example.org")


@pytest.mark.parametrize(
    "other",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": ["cumulet", "another"], "azp": "another"},
        {"exp": 1},
        {"exp": None},
        {"iat": FAR_AHEAD},
        {"iat": None},
        {"nonce": "of another browser"},
        {"nonce": None},
        {"sub": None},
        {"nbf": FAR_AHEAD},
    ],
    ids=str,
)
def test_a_wrong_word_is_not(provider, answering, other):
    answering(signed(claims(**other)))
    with pytest.raises(Forbidden):
        provider.identify("code", ATTEMPT, BACK)


def test_nor_is_what_it_has_not_signed(provider, answering):
    stranger = RSAKey.generate_key(2048, {"kid": "1"})
    shared = OctKey.generate_key(256, {"kid": "1"})
    head, body, _ = signed(claims()).split(".")
    for forged in (
        signed(claims(), stranger),
        signed(claims(), shared, "HS256"),
        f"{head}.{body}.",
        f"eyJhbGciOiJub25lIn0.{body}.",
        "no token",
    ):
        answering(forged)
        with pytest.raises(Forbidden):
            provider.identify("code", ATTEMPT, BACK)


def test_a_provider_that_calls_itself_otherwise_is_not_asked(provider, answering):
    answering(signed(claims()), issuer="https://evil.example")
    with pytest.raises(Unavailable):
        provider.address(ATTEMPT, BACK)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CUMULET_OIDC_ISSUER", "http://id.example"),
        ("CUMULET_OIDC_ISSUER", "id.example"),
        ("CUMULET_OIDC_ISSUER", ""),
        ("CUMULET_OIDC_CLIENT_ID", ""),
        ("CUMULET_OIDC_PROVISION", "yes"),
    ],
)
def test_settings_that_cannot_be_stop_the_start(name, value):
    right = {"CUMULET_OIDC_ISSUER": ISSUER, "CUMULET_OIDC_CLIENT_ID": "cumulet"}
    found = read_settings(right).oidc
    assert (found.name, found.provisions, found.secret_file) == ("id.example", False, None)
    with pytest.raises(Invalid, match=name):
        read_settings(right | {name: value})


def test_a_secret_that_cannot_be_read_stops_the_start(tmp_path):
    with pytest.raises(Invalid, match="CUMULET_OIDC_CLIENT_SECRET_FILE"):
        IdentityProvider(OidcSettings(ISSUER, "cumulet", tmp_path / "none", name="", provisions=False))
