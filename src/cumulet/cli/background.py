"""The server in the background, one for each data directory, and its helper where it is not root."""

from __future__ import annotations

import sys
from typing import Final

from cumulet.cli.client import Declined, open_client
from cumulet.cli.config import local_context
from cumulet.cli.kept import Kept
from cumulet.cli.own_user import USER, as_user
from cumulet.errors import Unavailable
from cumulet.hypervisor import HostUnreachable
from cumulet.line.connections import dial_unix
from cumulet.settings import Settings

START_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 2.0
CUMULET: Final = (sys.executable, "-m", "cumulet")


def start_server(settings: Settings) -> bool:
    """Start the server unless it is there, and wait until it answers; False when it did already.

    Unavailable with the end of its log when it does not come to answer.
    """
    if answers(settings):
        return False
    if (helper := helper_of(settings)) and not helps(settings):
        helper.start(lambda: helps(settings), seconds=START_SECONDS)
    server_of(settings).start(lambda: answers(settings), seconds=START_SECONDS)
    return True


def stop_server(settings: Settings) -> bool:
    """Stop the server and wait until it is gone; False when there was none in the background."""
    stopped = server_of(settings).stop()
    if helper := helper_of(settings):
        helper.stop()
    return stopped


def server_of(settings: Settings) -> Kept:
    """Say how the server runs: where a helper does what needs root, as a user that is not."""
    command = (*CUMULET, "serve")
    if settings.helper is None:
        return Kept(settings.data_dir, "the server", "serve", command, {})
    own = chosen(settings) | {"HOME": str(settings.data_dir)}
    return Kept(settings.data_dir, "the server", "serve", (*as_user(settings), *command), own)


def helper_of(settings: Settings) -> Kept | None:
    """Say how its helper runs, if it has one."""
    if settings.helper is None:
        return None
    command = (*CUMULET, "helper", "--user", USER)
    return Kept(settings.helper.parent, "the helper", "helper", command, chosen(settings))


def chosen(settings: Settings) -> dict[str, str]:
    """Say to both where the helper is, which their environment may not."""
    return {"CUMULET_HYPERVISOR": settings.hypervisor}


def answers(settings: Settings) -> bool:
    """Whether a server is well at the address of the settings."""
    try:
        open_client(local_context(settings), seconds=ANSWER_SECONDS).fetch("/healthz")
    except (Declined, Unavailable):
        return False
    return True


def helps(settings: Settings) -> bool:
    """Whether a helper listens."""
    try:
        dial_unix(str(settings.helper)).close()
    except HostUnreachable:
        return False
    return True
