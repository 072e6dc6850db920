"""`cumulet context`: the clouds that one calls, each with its key and its usual project."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.authorities import find_authority, trusting
from cumulet.cli.config import Config, Context, add_contexts, read_config, read_pem, write_config
from cumulet.cli.cudo import read_cudo_file
from cumulet.cli.output import AS_TABLE, Columns, Listing, show, write
from cumulet.cli.words import ContextName
from cumulet.errors import Invalid

CUDO_FILE: Final = Path("~/.config/cudo/cudo.yml")
COLUMNS: Final[Columns] = {
    "CURRENT": lambda one: "*" if one["current"] else "",
    "NAME": lambda one: one["id"],
    "URL": lambda one: one["url"],
    "PROJECT": lambda one: one["project"],
}
app = App(name="context")


Url = Annotated[str, Parameter(help="Where the API is, such as https://cloud.example.")]
UsualProject = Annotated[
    str, Parameter(name="--project", help="What commands are about that name no project.")
]


@app.command
def create(
    name: ContextName,
    /,
    *,
    url: Url,
    usual_project: UsualProject = "",
    ca: Path | None = None,
    fingerprint: str = "",
) -> None:
    """Keep a cloud under a name and make it the current one; its API key is asked for, or read from stdin.

    :param name: What to call it.
    :param ca: A file with the certificate (PEM) that its server's is signed by, if this machine does not trust that.
    :param fingerprint: The SHA-256 of that certificate, which is then taken from the server.
    """
    authority = read_authority(url, ca, fingerprint)
    add_contexts({name: Context(url=url, key=read_key(), project=usual_project, authority=authority)}, name)


@app.command
def use(name: ContextName, /) -> None:
    """Make a context the current one.

    :param name: The context's name.
    """
    config = read_config()
    config.find(name)
    write_config(Config(current=name, contexts=config.contexts))


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List the contexts; keys are not shown."""
    config = read_config()
    contexts = [
        {"id": name, "url": one.url, "project": one.project, "current": name == config.current}
        for name, one in config.contexts.items()
    ]
    show(contexts, listing, COLUMNS)


@app.command(alias=("rm", "delete"))
def remove(name: ContextName, /) -> None:
    """Forget a context and its key, which stays valid until it is revoked.

    :param name: The context's name.
    """
    config = read_config()
    config.find(name)
    left = {other: one for other, one in config.contexts.items() if other != name}
    write_config(Config(current="" if config.current == name else config.current, contexts=left))


@app.command(name="import")
def import_(file: Path = CUDO_FILE, /, *, url: Url) -> None:
    """Take the contexts of a cudo.yml over, which stays as it is.

    :param file: That file.
    """
    found, current = read_cudo_file(file.expanduser(), url)
    add_contexts(found, current)
    write("".join(f"{name}\n" for name in found))


def read_key() -> str:
    """Ask for an API key without showing it, or read it from stdin: never from the arguments, which all can see."""
    key = (getpass("API key: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not key:
        raise Invalid("an API key is required: type it when asked, or give it on stdin")
    return key


def read_authority(url: str, ca: Path | None, fingerprint: str) -> str:
    """Read the certificate that a server's must be signed by; "" leaves that to this machine."""
    if fingerprint:
        return find_authority(url, fingerprint)
    if ca is None:
        return ""
    authority = read_pem("--ca", ca.expanduser())
    trusting(authority)
    return authority
