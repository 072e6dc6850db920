"""The `cumulet` command: everything in `cli`, and `serve`, which stands above it."""

from __future__ import annotations

import os
import sys

from cumulet.cli import app, run
from cumulet.settings import read_settings


@app.command
def serve() -> None:
    """Run the server in the foreground; its settings come from the environment, CUMULET_* (operator)."""
    from cumulet.serve import serve as run_server  # noqa: PLC0415 - the client starts without the server's parts

    run_server(read_settings(os.environ))


def main() -> None:
    """Run the command line."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
