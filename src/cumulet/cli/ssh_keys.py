"""`cumulet ssh-key`: the keys that the cloud keeps for its user and gives to his VMs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cyclopts import App

from cumulet.cli.client import connect
from cumulet.cli.keys import read_public_key_file
from cumulet.cli.output import OPTIONS, Columns, Format, local_time, show

COLUMNS: Final[Columns] = {
    "ID": lambda key: key["id"],
    "TYPE": lambda key: key["type"],
    "FINGERPRINT": lambda key: key["fingerprint"],
    "COMMENT": lambda key: key["comment"],
    "ADDED": lambda key: local_time(key["createTime"]),
}
PAGE: Final = 1000
app = App(name="ssh-key", default_parameter=OPTIONS)


@app.command
def add(file: Path, /, *, output: Format = "table") -> None:
    """Keep the public keys of a file; VMs created from now on get them.

    :param file: A file of public keys, such as ~/.ssh/id_ed25519.pub.
    """
    client = connect()
    keys = read_public_key_file(file)
    show([client.post("/v1/ssh-keys", body={"publicKey": key}) for key in keys], output, COLUMNS)


@app.command(name="list", alias="ls")
def list_(*, output: Format = "table") -> None:
    """List your keys."""
    show(connect().get("/v1/ssh-keys", pageSize=PAGE)["sshKeys"], output, COLUMNS)


@app.command(alias="rm")
def delete(id: str, /) -> None:
    """Keep a key no longer; VMs that have it keep it.

    :param id: The key's id, as `cumulet ssh-key list` shows it.
    """
    connect().delete("/v1/ssh-keys/{}", id)
