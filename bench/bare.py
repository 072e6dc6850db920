"""The least that a Litestar route can do: the same bytes for everyone, served by one uvicorn as ours is.

python -m bench.bare PORT BYTES
"""

from __future__ import annotations

import sys

import uvicorn
from litestar import Litestar, Response, get


def main(port: str, size: str) -> None:
    """Serve until told to stop."""
    body = b"x" * int(size)

    @get("/", sync_to_thread=False)
    def answer() -> Response[bytes]:
        return Response(body, media_type="application/json")

    app = Litestar([answer], openapi_config=None, logging_config=None)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_config=None, access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
