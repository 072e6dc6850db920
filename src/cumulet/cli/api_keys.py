"""`cumulet key`: the API keys that act for their user."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.client import connect
from cumulet.cli.follow import read_span
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Listing, local_time, show, show_one
from cumulet.cli.several import each
from cumulet.cli.words import identifier
from cumulet.errors import Invalid

KEYS: Final = "/v1/api-keys"
COLUMNS: Final[Columns] = {
    "NAME": lambda key: key["id"],
    "CREATED": lambda key: local_time(key["createTime"]),
    "LAST USED": lambda key: local_time(key["lastUsedTime"]) or "never",
    "EXPIRES": lambda key: local_time(key["expireTime"]) or "never",
    "PROJECT": lambda key: key["projectId"] or "all",
    "MAY": lambda key: "read" if key["readOnly"] else "read and change",
}
FACTS: Final[Columns] = {
    "name": lambda key: key["id"],
    "key": lambda key: key["key"],
    "expires": lambda key: local_time(key["expireTime"]),
    "project": lambda key: key["projectId"],
    "may": COLUMNS["MAY"],
}
LONGEST: Final = timedelta(days=36_500)
Key = Annotated[str, identifier("The key's name.", KEYS, "apiKeys")]
Keys = Annotated[str, Parameter(name="MORE"), identifier("Further keys.", KEYS, "apiKeys")]
app = App(name="key", default_parameter=OPTIONS)


@app.command
def create(
    *,
    name: str = "",
    expires: str = "",
    project: Annotated[str, identifier("The only project that it is to open.", "/v1/projects", "projects")]
    | None = None,
    read_only: bool = False,
    output: Format = "table",
) -> None:
    """Create an API key that acts for you, and print it: it is told only now.

    :param name: What to call it; one is made up if you give none.
    :param expires: In which time it ends, such as 12h or 90d; never if you give none.
    :param read_only: It is to change nothing.
    """
    body = {
        "apikeyId": name,
        "expireTime": end_of(expires).isoformat() if expires else None,
        "projectId": project or "",
        "readOnly": read_only,
    }
    show_one(connect().post(KEYS, body=body), output, FACTS, name="key")


def end_of(expires: str) -> datetime:
    """Say when a key ends that is to be good for so long; Invalid."""
    seconds = read_span("--expires", expires)
    if seconds > LONGEST.total_seconds():
        raise Invalid.field("--expires", expires, f"at most {LONGEST.days}d, or none for ever")
    return datetime.now(UTC) + timedelta(seconds=seconds)


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List your API keys, which are not told again."""
    show(connect().list(KEYS, member="apiKeys"), listing, COLUMNS)


@app.command(alias="rm")
def remove(name: Key, /, *more: Keys) -> None:
    """Revoke API keys, at once."""
    client = connect()
    each((name, *more), lambda one: client.delete(f"{KEYS}/{{}}", one))
