"""`cumulet tls`: what the server needs to be spoken to in secret."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime

from cyclopts import App

from cumulet.cli.output import write
from cumulet.doctor.calls import hand_over
from cumulet.settings import read_settings

app = App(name="tls")


@app.command
def self_signed(*names: str) -> None:
    """Make a certificate for this server, and once an authority that vouches for it, in the data directory.

    A server that runs with these files takes a new certificate by itself.

    :param names: What clients call the server: names and IP addresses; this machine's own and loopback by default.
    """
    from cumulet.self_signed import make_self_signed  # noqa: PLC0415 - loads what no other command needs

    folder = read_settings(os.environ).data_dir / "tls"
    made = make_self_signed(folder, names or own_names(), datetime.now(UTC))
    owner = folder.parent.stat()
    hand_over(folder, owner.st_uid, owner.st_gid)
    write(
        "for the server:\n"
        f"  CUMULET_TLS_CERT={made.files.certificate}\n"
        f"  CUMULET_TLS_KEY={made.files.key}\n"
        "for clients, the authority:\n"
        f"  {made.authority}\n"
        f"  SHA-256 {made.fingerprint}\n"
    )


def own_names() -> list[str]:
    """Say what this machine is called by itself and from elsewhere."""
    return list(dict.fromkeys((socket.getfqdn(), socket.gethostname(), "localhost", "127.0.0.1", "::1")))
