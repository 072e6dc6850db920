"""OVN's databases as plain child processes: no network, no host, ready in a tenth of a second."""

import json
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

SCHEMA = "/usr/share/ovn/ovn-nb.ovsschema"
QUIET = ("-vconsole:emer", "-vsyslog:off", "-vfile:off")


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
        self.process = serve_database(self.directory, "nb")

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


class Translator:
    """The southbound database beside a northbound one, and OVN's northd between them."""

    def __init__(self, northbound: NorthboundServer) -> None:
        directory = northbound.directory
        schema = "/usr/share/ovn/ovn-sb.ovsschema"
        subprocess.run(["ovsdb-tool", "create", directory / "sb.db", schema], check=True)
        self.processes = [serve_database(directory, "sb")]
        remotes = (f"--ovnnb-db={northbound.remote}", f"--ovnsb-db=unix:{directory}/sb.sock")
        northd = ["ovn-northd", *remotes, f"--unixctl={directory}/northd.ctl", *QUIET]
        self.processes.append(subprocess.Popen(northd))

    def kill(self) -> None:
        """Kill both."""
        for process in self.processes:
            process.kill()
            process.wait()


def serve_database(directory: Path, name: str) -> subprocess.Popen:
    """Serve DIRECTORY/NAME.db on DIRECTORY/NAME.sock."""
    database, socket_path = directory / f"{name}.db", directory / f"{name}.sock"
    argv = ["ovsdb-server", database, f"--remote=punix:{socket_path}", f"--unixctl={directory}/{name}.ctl"]
    process = subprocess.Popen([*argv, *QUIET])
    deadline = time.monotonic() + 20
    while not accepts_connections(socket_path):
        assert time.monotonic() < deadline, "ovsdb-server does not listen"
        time.sleep(0.005)
    return process


def accepts_connections(path: Path) -> bool:
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.connect(str(path))
        return True
    return False
