"""OVN's northbound database alone, as a plain child process: no network, no other daemon, ready in a tenth of a second."""

import json
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

SCHEMA = "/usr/share/ovn/ovn-nb.ovsschema"


class NorthboundServer:
    """An ovsdb-server with OVN's northbound schema on a socket in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.remote = f"unix:{directory}/nb.sock"
        subprocess.run(["ovsdb-tool", "create", directory / "nb.db", SCHEMA], check=True)
        self.start()
        self.ctl("init")

    def start(self) -> None:
        """Start, and return when it listens."""
        self.process = subprocess.Popen(
            [
                "ovsdb-server", self.directory / "nb.db", f"--remote=p{self.remote}",
                f"--unixctl={self.directory}/ctl", "-vconsole:emer", "-vsyslog:off", "-vfile:off",
            ]
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while not accepts_connections(self.directory / "nb.sock"):
            assert time.monotonic() < deadline, "ovsdb-server does not listen"
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill it, with its socket left behind."""
        self.process.kill()
        self.process.wait()

    def ctl(self, *arguments: str) -> str:
        """Run ovn-nbctl as any other client would."""
        argv = ["ovn-nbctl", f"--db={self.remote}", "--timeout=20", *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def rows(self, table: str) -> list[str]:
        """The uuids of a table's rows."""
        return self.ctl("--bare", "--columns=_uuid", "find", table).split()

    def dump(self) -> object:
        """Everything in the database, with each row's version."""
        tables = json.loads(Path(SCHEMA).read_text())["tables"]
        wanted = [{"op": "select", "table": table, "where": []} for table in tables]
        argv = ["ovsdb-client", "transact", self.remote, json.dumps(["OVN_Northbound", *wanted])]
        return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def accepts_connections(path: Path) -> bool:
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.connect(str(path))
        return True
    return False
