"""`cumulet login`: from a URL and an API key to a context that works, tried before it is kept."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from cumulet.cli.authorities import find_authority, is_trusted, shown_certificates
from cumulet.cli.authorities import fingerprint as fingerprint_of
from cumulet.cli.by_browser import key_by_browser
from cumulet.cli.client import open_client
from cumulet.cli.config import Context, add_contexts, check_url, is_local
from cumulet.cli.contexts import Url, UsualProject, read_key
from cumulet.cli.progress import Progress
from cumulet.cli.words import AnyContext
from cumulet.errors import Invalid, Unavailable


def login(
    name: AnyContext = None,
    /,
    *,
    url: Url = "",
    usual_project: UsualProject = "",
    fingerprint: str = "",
    web: Annotated[bool, Parameter(name=("--web", "--sso"), negative="")] = False,
) -> None:
    """Try an API key, and keep it with its cloud as the current context. The key is asked for, or read from stdin.

    :param name: What to call the context; without, it is called as the cloud's host. One of that name is replaced.
    :param fingerprint: The SHA-256 of the certificate that the server's is signed by, if this machine does not trust it.
    :param web: Get a key by signing in at a browser, with a password or with the cloud's identity provider.
    """
    url = url or ask_for_url()
    check_url("--url", url)
    authority = authority_of(url, fingerprint)
    key = key_by_browser(url, authority) if web else read_key()
    client = open_client(Context(url=url, key=key, authority=authority))
    person = client.get("/v1/auth")["emailAddress"]
    projects = [one["id"] for one in client.list("/v1/projects", member="projects")]
    if usual_project and usual_project not in projects:
        raise Invalid.field("--project", usual_project, " or ".join(projects) or "none: you have no project")
    context = Context(
        url=url, key=key, project=usual_project or next(iter(projects), ""), authority=authority
    )
    name = name or urlsplit(url).hostname or ""
    add_contexts({name: context}, name, replace=True)
    Progress().say(f"logged in to {url} as {person}; the context {name} is the current one")


def ask_for_url() -> str:
    """Ask where the cloud is."""
    if not sys.stdin.isatty():
        raise Invalid("--url is required: where the API is")
    sys.stderr.write("URL of the API: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def authority_of(url: str, fingerprint: str) -> str:
    """Give the certificate to trust from now on, "" for what this machine trusts; Unavailable when that takes a word."""
    if not url.startswith("https:"):
        if not is_local(url):
            Progress().say(f"{url} is not encrypted: whoever is on the way there can read the key")
        return ""
    if fingerprint:
        return find_authority(url, fingerprint)
    if is_trusted(url):
        return ""
    last = fingerprint_of(shown_certificates(url)[-1])
    raise Unavailable(
        f"this machine does not trust the certificate of {url}; if it is the one whose fingerprint the server printed "
        f"when it was made, say --fingerprint {last}"
    )
