"""The `cumulet` command: everything in `cli`, and `serve`, which stands above it."""

from __future__ import annotations

import gc
import os
import signal
import sys

# Hardly anything made here is a cycle: to look for some each 700 things took an eighth of a server's start.
gc.set_threshold(50_000)

INTERRUPTED = signal.getsignal(signal.SIGINT)
if INTERRUPTED is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the rest loads is no error of any part of it

from cumulet.cli import app, run  # noqa: E402 - after the lines above
from cumulet.settings import read_settings  # noqa: E402 - likewise


@app.command
def serve() -> None:
    """Run the server in the foreground; its settings come from the environment, CUMULET_* (operator)."""
    from cumulet.serve.run import serve as run_server  # noqa: PLC0415 - the client starts without the server's parts

    run_server(read_settings(os.environ))


@app.command
def helper(user: str = "cumulet") -> None:
    """Do as root what the server asks for, which runs as a user of its own (operator).

    Both have the same settings; the user gets the data directory, and is made if there is none.

    :param user: Who the server runs as.
    """
    from cumulet.serve.helper import help_server  # noqa: PLC0415 - likewise

    help_server(read_settings(os.environ), user)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, INTERRUPTED)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
