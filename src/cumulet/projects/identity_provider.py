"""The identity provider that an installation signs its people in with: OpenID Connect, the code flow with PKCE.

    begin ─▶ the provider's page ─▶ back with a code ─▶ identify: code ▷ ID token ▷ whose it is

All that one attempt has to remember is made of one secret that its browser keeps: so nothing is stored here, and an
answer that belongs to another browser's attempt fits nowhere. What an ID token says is believed when joserfc finds its
signature, issuer, audience, times and nonce right.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cumulet.errors import Forbidden, Invalid, Unavailable
from cumulet.settings import OidcSettings

log = structlog.get_logger()
T = TypeVar("T")

TIMEOUT_S: Final = 5.0
FRESH_S: Final = 3600.0
"""How long what the provider tells of itself serves."""
LEEWAY_S: Final = 60
"""How far its clock may be from ours."""
ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
)
"""Signatures that only the provider can make."""
SCOPE: Final = "openid email profile"
NOT_VOUCHED: Final = "the identity provider did not vouch for you: start again from the sign-in page"


class Discovered(msgspec.Struct):
    """What the provider tells of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""


class Tokens(msgspec.Struct):
    """What a code is exchanged for."""

    id_token: str
    access_token: str = ""


class Profile(msgspec.Struct, frozen=True):
    """What the provider tells of somebody."""

    sub: str
    email: str = ""
    email_verified: bool | str = False
    given_name: str = ""
    family_name: str = ""


class Identity(Profile, frozen=True, kw_only=True):
    """Whom the provider vouches for."""

    iss: str

    @property
    def verified_email(self) -> str:
        """Their e-mail address; empty unless the provider has seen that it is theirs."""
        return self.email.lower() if self.email_verified in {True, "true"} else ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One browser on its way through the provider's page, told by the secret that it keeps."""

    secret: str

    @property
    def state(self) -> str:
        """Comes back with the code."""
        return self._part("state")

    @property
    def nonce(self) -> str:
        """Is in the ID token."""
        return self._part("nonce")

    @property
    def verifier(self) -> str:
        """Shows that who has the code is who began."""
        return self._part("verifier")

    @property
    def challenge(self) -> str:
        """Is told of the verifier at the beginning (PKCE, S256)."""
        return _text(hashlib.sha256(self.verifier.encode()).digest())

    def _part(self, name: str) -> str:
        return _text(hmac.digest(self.secret.encode(), name.encode(), "sha256"))


class IdentityProvider:
    """The provider, by its settings; several threads may ask it."""

    def __init__(self, settings: OidcSettings) -> None:
        """Read the secret; Invalid when that cannot be."""
        self.settings = settings
        self._secret = read_secret(settings.secret_file)
        self._known: tuple[float, Discovered] | None = None

    def address(self, attempt: Attempt, redirect_uri: str) -> str:
        """Say where a browser proves who it is; Unavailable."""
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPE,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        there = self._discovered().authorization_endpoint
        return f"{there}{'&' if '?' in there else '?'}{urlencode(asked)}"

    def identify(self, code: str, attempt: Attempt, redirect_uri: str) -> Identity:
        """Exchange a code for whom it stands for; Forbidden when it stands for nobody, Unavailable."""
        asked = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self.settings.client_id,
            "code_verifier": attempt.verifier,
        }
        user, password = quote(self.settings.client_id, safe=""), quote(self._secret, safe="")
        auth = (user, password) if password else None
        tokens = self._ask("POST", self._discovered().token_endpoint, Tokens, data=asked, auth=auth)
        identity = self._believed(tokens.id_token, attempt.nonce)
        return identity if identity.email else self._with_profile(identity, tokens.access_token)

    def _with_profile(self, identity: Identity, access_token: str) -> Identity:
        """Ask for what the ID token leaves out, as the standard lets it."""
        there = self._discovered().userinfo_endpoint
        if not there or not access_token:
            return identity
        profile = self._ask("GET", there, Profile, headers={"authorization": f"Bearer {access_token}"})
        if profile.sub != identity.sub:
            raise Forbidden(NOT_VOUCHED)
        said = {name: getattr(profile, name) for name in Profile.__struct_fields__}
        return msgspec.structs.replace(identity, **said)

    def _believed(self, id_token: str, nonce: str) -> Identity:
        known = self._discovered()
        keys = self._ask("GET", known.jwks_uri, dict[str, Any])
        claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": known.issuer},
            aud={"essential": True, "value": self.settings.client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            token = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=ALGORITHMS)  # type: ignore[arg-type]
            claims.validate(token.claims)
            if token.claims.get("azp", self.settings.client_id) != self.settings.client_id:
                raise Forbidden(NOT_VOUCHED)
            return msgspec.convert(token.claims, Identity)
        except (JoseError, ValueError) as problem:
            log.warning("an ID token is not believed", problem=type(problem).__name__)
            raise Forbidden(NOT_VOUCHED) from None

    def _discovered(self) -> Discovered:
        if self._known and time.monotonic() - self._known[0] < FRESH_S:
            return self._known[1]
        there = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = self._ask("GET", there, Discovered)
        if found.issuer != self.settings.issuer:
            raise Unavailable(
                "the identity provider calls itself otherwise than this server knows it: its operator has to look",
                for_operator=f"CUMULET_OIDC_ISSUER is {self.settings.issuer}, and there the issuer is {found.issuer}",
            )
        self._known = time.monotonic(), found
        return found

    def _ask(self, method: str, url: str, kind: type[T], **sent: Any) -> T:  # noqa: ANN401 - as httpx takes it
        """Ask the provider; Forbidden where it refuses a code, Unavailable where it does not answer as it should."""
        try:
            answer = httpx.request(method, url, timeout=TIMEOUT_S, **sent)
            if method == "POST" and answer.is_client_error:
                log.warning(
                    "the identity provider refuses", status=answer.status_code, error=_error_of(answer)
                )
                raise Forbidden(NOT_VOUCHED)
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=kind)
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError) as problem:
            log.warning("the identity provider does not answer as it should", problem=repr(problem))
            raise Unavailable(
                "the identity provider does not answer as it should; with a password or an API key you can sign in"
            ) from None


def read_secret(path: Path | None) -> str:
    """Read the client's secret; empty without a file, Invalid when it cannot be read."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise Invalid(f"CUMULET_OIDC_CLIENT_SECRET_FILE: cannot read {str(path)!r}: {problem}") from None


def _error_of(answer: httpx.Response) -> str:
    """Give the provider's word for what is wrong, which is one of a few."""
    try:
        return str(answer.json()["error"])[:100]
    except (ValueError, KeyError, TypeError):
        return ""


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
