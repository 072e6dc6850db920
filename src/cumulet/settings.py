"""What an operator can set, read once from the environment; an unknown `CUMULET_*` name stops the start.

A typing error in a setting that is silently ignored costs an evening; so every name must be known here, the
client's included, because both live in the same shell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cumulet.errors import Invalid

CLIENT_NAMES: Final = frozenset(
    {"CUMULET_URL", "CUMULET_API_KEY", "CUMULET_PROJECT", "CUMULET_CA", "CUMULET_CONTEXT"}
)
SERVER_NAMES: Final = frozenset(
    {
        "CUMULET_DATA_DIR",
        "CUMULET_SHARED_DIR",
        "CUMULET_LISTEN",
        "CUMULET_DRAIN_SECONDS",
        "CUMULET_DATABASE_URL",
        "CUMULET_HYPERVISOR",
        "CUMULET_FABRIC",
        "CUMULET_CATALOGUE",
        "CUMULET_POWER_COMMAND",
        "CUMULET_TLS_CERT",
        "CUMULET_TLS_KEY",
        "CUMULET_PLAIN_HTTP",
        "CUMULET_TRUSTED_PROXIES",
        "CUMULET_OIDC_ISSUER",
        "CUMULET_OIDC_CLIENT_ID",
        "CUMULET_OIDC_CLIENT_SECRET_FILE",
        "CUMULET_OIDC_NAME",
        "CUMULET_OIDC_PROVISION",
    }
)

LONGEST_DRAIN: Final = 40
"""Seconds; the service manager waits for 60, and requests under way need some of those."""
MADE_UP: Final = "memory:"
"""How the URI of made-up hosts begins."""
LIBVIRT: Final = "qemu:///system"
"""This machine's own libvirt."""
NO_HOST: Final = "none"
"""The URI of a server whose own machine is no host, or one that is added like all others."""
HELPED: Final = "unix:"
"""How the URI of this machine begins where a helper does what needs root; the path of its socket follows."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a server proves with who it is."""

    certificate: Path
    """PEM: the server's own, then those that lead to an authority."""
    key: Path
    """PEM, without a password."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The identity provider that people sign in with."""

    issuer: str
    """`CUMULET_OIDC_ISSUER`: its URL, exactly as it calls itself."""
    client_id: str
    """`CUMULET_OIDC_CLIENT_ID`: what it calls this installation."""
    secret_file: Path | None
    """`CUMULET_OIDC_CLIENT_SECRET_FILE`; None for a client without a secret."""
    name: str
    """`CUMULET_OIDC_NAME`: what people call it; its host without a word."""
    provisions: bool
    """`CUMULET_OIDC_PROVISION`: whoever it vouches for becomes a user, invited or not."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The server's settings (design: "The edges")."""

    data_dir: Path
    """Database, keys, images, disks and logs. `CUMULET_DATA_DIR`, /var/lib/cumulet; in memory ~/.local/state/cumulet."""
    shared_dir: Path
    """What all servers of one cloud have in common: images and secrets. `CUMULET_SHARED_DIR`; the data directory of the only one."""
    host: str
    port: int
    """Where REST listens. `CUMULET_LISTEN`, 127.0.0.1:8480."""
    drain_seconds: int
    """`CUMULET_DRAIN_SECONDS`, 0: how long a server that is to end still serves, and says that it is not ready."""
    database_url: str
    """`CUMULET_DATABASE_URL`; SQLite in the data directory, or `postgresql+psycopg://…`."""
    hypervisor: str
    """`CUMULET_HYPERVISOR`: a libvirt URI (qemu:///system), `unix:` and the helper's socket, `none`, or `memory:?hosts=…`."""
    fabric: str
    """`CUMULET_FABRIC`: OVN's northbound socket (unix:/run/ovn/ovnnb_db.sock, with the southbound one beside it) or `memory:`."""
    catalogue: Path | None
    """`CUMULET_CATALOGUE`: a TOML of what this cloud offers; None offers this very host."""
    tls: TlsFiles | None
    """`CUMULET_TLS_CERT` and `CUMULET_TLS_KEY`; None serves plain HTTP."""
    plain_http: bool
    """`CUMULET_PLAIN_HTTP`: serve plain HTTP beyond this machine too, to a TLS proxy on another one."""
    power_command: Path | None
    """`CUMULET_POWER_COMMAND`: what cuts the power of a host that stays silent; None leaves that to the operator."""
    trusted_proxies: tuple[str, ...]
    """`CUMULET_TRUSTED_PROXIES`: addresses and networks whose word counts for where a request came from."""
    oidc: OidcSettings | None
    """`CUMULET_OIDC_…`; None without an identity provider."""

    @property
    def is_made_up(self) -> bool:
        """Whether hosts and guests are in memory only."""
        return self.hypervisor.startswith(MADE_UP)

    @property
    def serves_no_host(self) -> bool:
        """Whether all hosts are reached by SSH, also the server's own machine if it is one."""
        return self.hypervisor == NO_HOST

    @property
    def helper(self) -> Path | None:
        """The socket of the helper that does what needs root; None where the server does that itself."""
        is_helped = self.hypervisor.startswith(HELPED)
        return Path(self.hypervisor.removeprefix(HELPED)).absolute() if is_helped else None

    @property
    def scheme(self) -> str:
        """How URLs of the server begin."""
        return "https" if self.tls else "http"

    @property
    def is_exposed(self) -> bool:
        """Whether keys and passwords would cross a network in plain sight."""
        return self.tls is None and not is_loopback(self.host)

    @property
    def images_dir(self) -> Path:
        """Where public images lie."""
        return self.shared_dir / "images"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Turn `CUMULET_*` variables into settings, an empty one being none; Invalid names the one that is wrong."""
    known = SERVER_NAMES | CLIENT_NAMES
    for name in environment:
        if name.startswith("CUMULET_") and name not in known:
            raise Invalid(f"unknown setting {name}; known are {', '.join(sorted(known))}")
    given = {name: value for name, value in environment.items() if value}
    hypervisor = given.get("CUMULET_HYPERVISOR", LIBVIRT)
    made_up = hypervisor.startswith(MADE_UP)
    data_dir = Path(given.get("CUMULET_DATA_DIR") or default_data_dir(given, made_up=made_up)).absolute()
    host, port = read_listen(given.get("CUMULET_LISTEN", "127.0.0.1:8480"))
    catalogue = given.get("CUMULET_CATALOGUE")
    database_url = given.get("CUMULET_DATABASE_URL", f"sqlite:///{data_dir}/cumulet.db")
    return Settings(
        data_dir=data_dir,
        shared_dir=Path(given.get("CUMULET_SHARED_DIR", data_dir)).absolute(),
        host=host,
        port=port,
        drain_seconds=read_drain(given.get("CUMULET_DRAIN_SECONDS", "0")),
        database_url=read_database_url(database_url),
        hypervisor=hypervisor,
        fabric=given.get("CUMULET_FABRIC") or default_fabric(hypervisor),
        catalogue=Path(catalogue).absolute() if catalogue else None,
        power_command=Path(given["CUMULET_POWER_COMMAND"]).absolute()
        if "CUMULET_POWER_COMMAND" in given
        else None,
        tls=read_tls(given),
        plain_http=read_switch(given, "CUMULET_PLAIN_HTTP"),
        trusted_proxies=read_proxies(given.get("CUMULET_TRUSTED_PROXIES", "")),
        oidc=read_oidc(given),
    )


def default_data_dir(environment: Mapping[str, str], *, made_up: bool) -> Path:
    """Say where data lies without a word: the machine's own with real hosts, one's own with made-up ones."""
    if not made_up:
        return Path("/var/lib/cumulet")
    home = Path(environment.get("HOME") or Path.home())
    return Path(environment.get("XDG_STATE_HOME") or home / ".local/state") / "cumulet"


def default_fabric(hypervisor: str) -> str:
    """Say where OVN's northbound database answers without a word: at its own socket, or beside the helper's."""
    if hypervisor.startswith(MADE_UP):
        return MADE_UP
    folder = Path(hypervisor.removeprefix(HELPED)).parent if hypervisor.startswith(HELPED) else "/run/ovn"
    return f"unix:{folder}/ovnnb_db.sock"


def read_database_url(value: str) -> str:
    """Let a database through that we speak to; the refusal does not repeat what may hold a password."""
    if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
        accepted = "sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
        raise Invalid.field("CUMULET_DATABASE_URL", "(not shown)", accepted)
    return value


def read_listen(value: str) -> tuple[str, int]:
    """Split `HOST:PORT`; port 0 lets the system choose."""
    host, _, port = value.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:  # noqa: PLR2004 - the highest TCP port
        raise Invalid.field("CUMULET_LISTEN", value, "HOST:PORT, for example 127.0.0.1:8480")
    return host.strip("[]"), int(port)


def read_drain(value: str) -> int:
    """Read how long a server is not ready before it ends."""
    if not (value.isascii() and value.isdecimal()) or int(value) > LONGEST_DRAIN:
        raise Invalid.field("CUMULET_DRAIN_SECONDS", value, f"whole seconds from 0 to {LONGEST_DRAIN}")
    return int(value)


def is_loopback(host: str) -> bool:
    """Whether a server on this name or address is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_tls(given: Mapping[str, str]) -> TlsFiles | None:
    """Read where certificate and key are; both or neither."""
    certificate, key = given.get("CUMULET_TLS_CERT"), given.get("CUMULET_TLS_KEY")
    if certificate and key:
        return TlsFiles(Path(certificate).absolute(), Path(key).absolute())
    if certificate or key:
        missing = "CUMULET_TLS_KEY" if certificate else "CUMULET_TLS_CERT"
        raise Invalid.field(missing, "", "the PEM file that goes with the other one: both are needed for TLS")
    return None


def read_oidc(given: Mapping[str, str]) -> OidcSettings | None:
    """Read which identity provider there is; Invalid where its answers could be read or changed on their way."""
    issuer, client_id = given.get("CUMULET_OIDC_ISSUER", ""), given.get("CUMULET_OIDC_CLIENT_ID", "")
    if not issuer and not client_id:
        return None
    there = urlsplit(issuer)
    is_safe = there.scheme == "https" or (there.scheme == "http" and is_loopback(there.hostname or ""))
    if not is_safe or not there.hostname or there.query or there.fragment:
        raise Invalid.field("CUMULET_OIDC_ISSUER", issuer, "the https URL of an OpenID Connect provider")
    if not client_id:
        raise Invalid.field("CUMULET_OIDC_CLIENT_ID", "", "what the provider calls this installation")
    secret_file = given.get("CUMULET_OIDC_CLIENT_SECRET_FILE")
    return OidcSettings(
        issuer=issuer,
        client_id=client_id,
        secret_file=Path(secret_file).absolute() if secret_file else None,
        name=given.get("CUMULET_OIDC_NAME") or there.hostname,
        provisions=read_switch(given, "CUMULET_OIDC_PROVISION"),
    )


def read_switch(given: Mapping[str, str], name: str) -> bool:
    """Read what is either said or not."""
    value = given.get(name, "")
    if value not in {"", "1"}:
        raise Invalid.field(name, value, "1, or nothing at all")
    return value == "1"


def read_proxies(value: str) -> tuple[str, ...]:
    """Split `ADDRESS,NETWORK,…`."""
    proxies = tuple(filter(None, map(str.strip, value.split(","))))
    for proxy in proxies:
        try:
            ip_network(proxy)
        except ValueError:
            accepted = "IP addresses and networks with commas between them, such as 127.0.0.1,10.0.0.0/24"
            raise Invalid.field("CUMULET_TRUSTED_PROXIES", proxy, accepted) from None
    return proxies
