"""A real server process whose made-up host is served over a socket by somebody else, so that several servers have the same one."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from cumulet.line.connections import dial_unix
from cumulet.line.far_host import FarHost
from cumulet.line.wire import HostWish
from cumulet.serve import backends
from cumulet.serve.run import serve
from cumulet.settings import read_settings

if __name__ == "__main__":
    wish = HostWish("several", Path(tempfile.gettempdir()), {})
    host = FarHost(partial(dial_unix, sys.argv[1]), wish)
    backends.open_made_up = lambda *_: {"memory-1": host}
    serve(read_settings(os.environ))
