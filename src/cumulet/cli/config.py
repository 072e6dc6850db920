"""Which cloud a command means, with which key and which project: `~/.config/cumulet/config.toml` and the environment.

    --context NAME  ▷  CUMULET_URL, CUMULET_API_KEY | CUMULET_CONTEXT  ▷  the current context  ▷  this machine's own server

The first that is there says it all: a key never goes where another one of these leads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from cumulet.errors import Invalid, NotFound
from cumulet.settings import Settings, read_settings

KEY_FILE: Final = "admin.key"
"""The owner's key, in the server's data directory."""
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to call one that listens on all
END_OF_CERTIFICATE: Final = "-----END CERTIFICATE-----"
CONTEXT_NAME: Final = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
OTHERS: Final = 0o077
"""The permissions of a file that are not its owner's."""
CHOSEN: Final = ContextVar("CHOSEN", default="")
"""The context that this command names by `--context`."""


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One cloud as one user calls it."""

    url: str
    """Where its API is."""
    key: str = ""
    project: str = ""
    """What commands are about that name no other."""
    authority: str = ""
    """The only certificate (PEM) that its server's may be signed by; empty for those that this machine trusts."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The file, as it lies there."""

    current: str = ""
    contexts: dict[str, Context] = {}

    def find(self, name: str) -> Context:
        """Give a context; NotFound names those that there are."""
        if name not in self.contexts:
            raise NotFound.named("context", name, list(self.contexts))
        return self.contexts[name]


def config_file() -> Path:
    """Name the file; a home of one's own is needed for nothing else."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "cumulet/config.toml"


def read_config() -> Config:
    """Read the file, which need not be there; Invalid when it is not as it should be, or others can read its keys."""
    path = config_file()
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & OTHERS:
                raise Invalid(f"{path} holds keys and others may open it: `chmod 600 {path}`")
            return msgspec.toml.decode(file.read(), type=Config)
    except FileNotFoundError:
        return Config()
    except OSError as problem:
        raise Invalid(f"cannot read {path}: {problem.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise Invalid(f"{path} is not as it should be: {problem}") from None


def write_config(config: Config) -> None:
    """Write the whole file or nothing of it, for its owner's eyes only."""
    import tempfile  # noqa: PLC0415 - most commands only read

    path = config_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as part:
            part.write(msgspec.toml.encode(config))
        Path(part.name).replace(path)
    except OSError as problem:
        raise Invalid(f"cannot write {path}: {problem.strerror}") from None


def add_contexts(new: Mapping[str, Context], current: str, *, replace: bool = False) -> None:
    """Keep contexts and make one of them the current one; Invalid when a name is none, or taken and not to be replaced."""
    config = read_config()
    for name, context in new.items():
        check_url("--url", context.url)
        check_key(context.key)
        if not CONTEXT_NAME.fullmatch(name):
            raise Invalid.field(
                "NAME", name, "up to 63 letters, digits, '.', '_' and '-', a letter or digit first"
            )
        if name in config.contexts and not replace:
            raise Invalid(f"there is a context {name!r} already; remove it first, or choose another name")
    current = current if current in new else config.current
    write_config(Config(current=current, contexts={**config.contexts, **new}))


def check_url(field: str, url: str) -> None:
    """Refuse what is no URL of an API."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise Invalid.field(field, url, "a URL such as http://127.0.0.1:8480")


def check_key(key: str) -> None:
    """Refuse what cannot be an API key, without repeating it."""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise Invalid.field("the API key", "(not shown)", "one line of letters, digits, '-' and '_'")


@contextmanager
def chosen(name: str) -> Iterator[None]:
    """Mean the context of that name until the block ends; "" leaves that to the environment."""
    before = CHOSEN.set(name)
    try:
        yield
    finally:
        CHOSEN.reset(before)


def find_context() -> Context:
    """Say which cloud is meant."""
    settings = read_settings(os.environ)
    return context_of_file(os.environ) or context_of_environment(os.environ, settings)


def usual_project() -> str:
    """Name the project of the context that is meant; "" for none."""
    context = context_of_file(os.environ)
    return context.project if context else ""


def means_this_machine() -> bool:
    """Whether nothing names another cloud than this machine's own."""
    return not os.environ.get("CUMULET_URL") and context_of_file(os.environ) is None


def context_of_file(environment: Mapping[str, str]) -> Context | None:
    """Give the context of the file that is meant; None when the environment says where to go, or nothing does."""
    if name := CHOSEN.get():
        return read_config().find(name)
    direct = [one for one in ("CUMULET_URL", "CUMULET_API_KEY") if environment.get(one)]
    name = environment.get("CUMULET_CONTEXT", "")
    if direct and name:
        raise Invalid(f"CUMULET_CONTEXT and {direct[0]} both say where to go: unset one of them")
    if direct:
        return None
    config = read_config()
    name = name or config.current
    return config.find(name) if name else None


def context_of_environment(environment: Mapping[str, str], settings: Settings) -> Context:
    """Give what the environment says, as far as it does; for the rest this machine's own server and its owner's key."""
    here = local_context(settings)
    url = environment.get("CUMULET_URL") or here.url
    key = environment.get("CUMULET_API_KEY") or (here.key if is_local(url) else "")
    ca = environment.get("CUMULET_CA")
    authority = read_pem("CUMULET_CA", Path(ca)) if ca else here.authority if url == here.url else ""
    return Context(url=url, key=key.strip(), authority=authority)


def read_pem(field: str, path: Path) -> str:
    """Read a file of certificates; Invalid names the field and the file when that fails."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise Invalid(f"{field}: cannot read {str(path)!r}: {problem}") from None


def local_context(settings: Settings) -> Context:
    """Give this machine's own server as its owner calls it."""
    return Context(
        url=local_url(settings), key=local_key(settings).strip(), authority=local_certificate(settings)
    )


def local_certificate(settings: Settings) -> str:
    """Read the certificate of this machine's own server, without those above it; "" when there is none to read."""
    try:
        shown = settings.tls.certificate.read_text() if settings.tls else ""
    except OSError:
        return ""
    first, end, _ = shown.partition(END_OF_CERTIFICATE)
    return first + end


def local_url(settings: Settings) -> str:
    """Name where this machine's own server listens."""
    host = ANY_ADDRESS.get(settings.host, settings.host)
    return f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


def is_local(url: str) -> bool:
    """Whether a URL stays on this machine: only there may its own key go."""
    return urlsplit(url).hostname in LOOPBACK


def local_key(settings: Settings) -> str:
    """Read the owner's key of this machine's own server; nothing when it is not for us to read."""
    try:
        return (settings.data_dir / KEY_FILE).read_text()
    except (FileNotFoundError, PermissionError):
        return ""
