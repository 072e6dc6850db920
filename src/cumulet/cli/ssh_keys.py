"""`cumulet ssh-key`: the keys that the cloud keeps for its user and gives to their VMs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.client import connect
from cumulet.cli.keys import read_public_key_file
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Listing, local_time, show
from cumulet.cli.several import each
from cumulet.cli.words import identifier

COLUMNS: Final[Columns] = {
    "ID": lambda key: key["id"],
    "TYPE": lambda key: key["type"],
    "COMMENT": lambda key: key["comment"],
    "ADDED": lambda key: local_time(key["createTime"]),
}
MORE: Final[Columns] = {"FINGERPRINT": lambda key: key["fingerprint"]}
Key = Annotated[
    str, identifier("The key's id, as `cumulet ssh-key list` shows it.", "/v1/ssh-keys", "sshKeys")
]
Keys = Annotated[str, Parameter(name="MORE"), identifier("Further keys.", "/v1/ssh-keys", "sshKeys")]
app = App(name="ssh-key", default_parameter=OPTIONS)


@app.command
def add(file: Path, /, *, listing: Listing = AS_TABLE) -> None:
    """Keep the public keys of a file; VMs created from now on get them.

    :param file: A file of public keys, such as ~/.ssh/id_ed25519.pub.
    """
    client = connect()
    keys = read_public_key_file(file, given_as="FILE")
    show([client.post("/v1/ssh-keys", body={"publicKey": key}) for key in keys], listing, COLUMNS, more=MORE)


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List your keys."""
    show(connect().list("/v1/ssh-keys", member="sshKeys"), listing, COLUMNS, more=MORE)


@app.command(alias="rm")
def delete(id: Key, /, *more: Keys) -> None:
    """Keep keys no longer; VMs that have them keep them."""
    client = connect()
    each((id, *more), lambda each_id: client.delete("/v1/ssh-keys/{}", each_id))
