"""The helper on the server's own machine: does as root what a server asks for that runs as a user of its own.

It is what hosts far away have (`line/helper.py`), but it comes with the server's installation and stays. OVN's databases
listen to root alone; for the server they do so here.

    server (cumulet) ══ helper.sock ══▶ helper (root) ──▶ Hypervisor, doctor
                     ══ ovnnb_db.sock, ovnsb_db.sock ══▶ helper ══▶ OVN's own sockets
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from cumulet.doctor.calls import CENTRAL_SOCKETS, ensure_account, hand_over
from cumulet.errors import Invalid
from cumulet.line.arrive import let_through
from cumulet.line.helper import Helper
from cumulet.line.relay import relay
from cumulet.line.run import open_here
from cumulet.serve.alone import alone
from cumulet.serve.logs import configure_logging
from cumulet.serve.manager import Manager
from cumulet.settings import Settings

log = structlog.get_logger()


def help_server(settings: Settings, user: str) -> None:
    """Do what a server asks for that runs as this user and has these settings, until told to stop.

    The user is made if there is none, and gets the data directory with what a server that ran as root left there.
    """
    if settings.helper is None:
        accepted = "unix:PATH, where the server finds its helper, such as unix:/run/cumulet/host/helper.sock"
        raise Invalid.field("CUMULET_HYPERVISOR", settings.hypervisor, accepted)
    configure_logging()
    manager = Manager.named_in(os.environ)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    account = ensure_account(user, settings.data_dir)
    for theirs in {settings.data_dir, settings.shared_dir}:
        hand_over(theirs, account.pw_uid, account.pw_gid)
    let_through(settings.data_dir)
    folder = settings.helper.parent
    with alone(folder / "helper.lock", f"another helper runs in {folder}"), suppress(KeyboardInterrupt):
        for central in map(Path, CENTRAL_SOCKETS):
            relay(listen(folder / central.name, account), str(central))
        helper = Helper(listen(settings.helper, account), partial(open_here, packages=()))
        manager.serves()
        log.info("helping", user=user, socket=str(settings.helper))
        try:
            helper.serve()
        finally:
            settings.helper.unlink()
            manager.ends()
            helper.close()


def listen(place: Path, account: pwd.struct_passwd) -> socket.socket:
    """Listen on a unix socket that this account alone may open, besides root."""
    place.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    place.chmod(0o600)
    os.chown(place, account.pw_uid, account.pw_gid)
    listener.listen(128)
    return listener
