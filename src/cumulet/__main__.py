"""The `cumulet` command: everything in `cli`, and `serve`, which stands above it."""

from __future__ import annotations

import os

from cumulet.cli import app
from cumulet.errors import CumuletError
from cumulet.settings import read_settings


@app.command
def serve() -> None:
    """Run the server in the foreground; its settings come from the environment (CUMULET_*)."""
    from cumulet.serve import serve as run  # noqa: PLC0415 - the client's commands start without the server's parts

    run(read_settings(os.environ))


def main() -> None:
    """Run the command line."""
    app()
