"""`cumulet api`: any call of the API, for what has no command of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from cumulet.cli.client import connect
from cumulet.cli.output import show_data
from cumulet.errors import Invalid


def api(method: str, path: str, body: Annotated[str, Parameter(allow_leading_hyphen=True)] = "", /) -> None:
    """Call the API and print its answer.

    :param method: GET, POST, PUT, PATCH or DELETE.
    :param path: The path with its query, for example /v1/projects.
    :param body: JSON, or @FILE to read it from a file, or - to read it from stdin.
    """
    if not path.startswith("/"):
        raise Invalid.field("path", path, "a path that begins with '/', for example /v1/projects")
    show_data(connect().call(method.upper(), path, body=read_body(body)), "json")


def read_body(text: str) -> object:
    """Read the JSON of a request; None for none."""
    if not text:
        return None
    try:
        source = sys.stdin.read() if text == "-" else Path(text[1:]).read_text() if text[0] == "@" else text
        return msgspec.json.decode(source)
    except (OSError, UnicodeDecodeError) as problem:
        raise Invalid(f"body: cannot read {text[1:]!r}: {problem}") from None
    except msgspec.DecodeError as problem:
        raise Invalid(f"body: not valid JSON: {problem}") from None
