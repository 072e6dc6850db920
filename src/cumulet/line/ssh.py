"""One SSH connection to a host, which starts the helper there and forwards its socket.

It is the system's own ssh, with nothing of anybody's configuration: the key is the server's, and the host proves itself
by the key that was pinned when it was added. A cable that is cut ends it after three unanswered questions, some eight
seconds, and with it whatever goes over it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shlex
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from socket import socket
from typing import IO, Final
from urllib.parse import parse_qs, quote, urlsplit

from cumulet.errors import Invalid
from cumulet.hypervisor import HostUnreachable
from cumulet.hypervisor.reopened_link import ReopenedLink
from cumulet.line.bundle import Bundle
from cumulet.line.connections import dial_unix

OPEN_SECONDS: Final = 60.0
"""For SSH, the bundle and the helper's start together."""
OPTIONS: Final = (
    "BatchMode=yes", "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no",
    "HostKeyAlias=host", "IdentitiesOnly=yes", "IdentityAgent=none", "PreferredAuthentications=publickey",
    "ConnectTimeout=5", "ServerAliveInterval=3", "ServerAliveCountMax=2", "ControlMaster=no", "ControlPath=none",
    "ExitOnForwardFailure=yes", "LogLevel=ERROR",
)  # fmt: skip
SSH_PORT: Final = 22
KEY_KINDS: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
"""What a host may prove itself by, the preferred one first."""
PYTHON: Final = "/usr/bin/python3"
"""The host's own: libvirt's module comes with it."""
ACCEPTED: Final = "ssh://USER@HOST[:PORT]"
CURES: Final = {
    "Host key verification failed": "it proves itself by another SSH key than it was known by; when that is right, add it again with its new host key",
    "Permission denied": "append what `cumulet host key` prints to /root/.ssh/authorized_keys there",
}
"""By what ssh says, what its operator can do about it."""
LONGEST_HOST: Final = 253
"""Characters: a name in DNS."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a host's SSH answers, and what it proves itself by."""

    user: str
    host: str
    port: int
    host_key: str
    """As in known_hosts: `ssh-ed25519 AAAA…`; `""` while none is pinned."""

    @property
    def uri(self) -> str:
        """As a host's row has it."""
        place = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == SSH_PORT else f":{self.port}"
        key = f"?host_key={quote(self.host_key, safe='')}" if self.host_key else ""
        return f"ssh://{self.user}@{place}{port}{key}"


def read_destination(uri: str) -> Destination:
    """Read a host's URI; Invalid says what is wrong with it."""
    try:
        parts = urlsplit(uri)
        port = parts.port or SSH_PORT
    except ValueError as failure:
        raise Invalid.field("uri", uri, ACCEPTED) from failure
    user, host = parts.username or "root", parts.hostname or ""
    if (
        parts.scheme != "ssh"
        or not 0 < len(host) <= LONGEST_HOST
        or host.startswith("-")
        or user.startswith("-")
        or parts.path.strip("/")
    ):
        raise Invalid.field("uri", uri, ACCEPTED)
    key, *others = parse_qs(parts.query).get("host_key", [""])
    if others:
        raise Invalid.field("uri", uri, ACCEPTED)
    return Destination(user, host, port, key)


def scan_host_key(destination: Destination) -> Destination:
    """Ask a host that is new for the key that it proves itself by, and pin that; HostUnreachable."""
    argv = (
        "ssh-keyscan",
        "-T",
        "5",
        "-p",
        str(destination.port),
        "-t",
        "ed25519,ecdsa,rsa",
        destination.host,
    )
    scanned = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    lines = [line.split(" ", 1)[1] for line in scanned.stdout.splitlines() if line and line[0] != "#"]
    if not lines:
        raise HostUnreachable(f"no SSH answers at {destination.host} port {destination.port}")
    best = min(lines, key=lambda line: KEY_KINDS.index(line.split()[0]))
    return replace(destination, host_key=best)


def fingerprint(public_key: str) -> str:
    """Say a public key as people compare it: `SHA256:…`."""
    digest = hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a helper's things are on a host."""

    root: Path = Path("/var/lib/cumulet/helper")
    run: Path = Path("/run/cumulet/line")
    python: str = PYTHON


class SshLine:
    """The line to one host: opened when it is needed, and again when it broke."""

    def __init__(
        self,
        destination: Destination,
        *,
        identity: Path,
        bundle: Bundle,
        places: Places = Places(),
        patience: float = OPEN_SECONDS,
    ) -> None:
        """`patience` is how many seconds a call waits for the line to be opened for the first time."""
        self._link = ReopenedLink(
            destination.host,
            open=lambda: open_ssh(destination, identity, bundle, places),
            is_alive=Ssh.is_alive,
            close=Ssh.close,
            first_seconds=patience,
        )

    def dial(self) -> socket:
        """Connect to the host's helper; HostUnreachable says what is in the way."""
        return dial_unix(str(self._link.find().forwarded))

    def close(self) -> None:
        """Let go of the host; its helper leaves when nobody else needs it."""
        self._link.close()


class Ssh:
    """An ssh that runs."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.forwarded = folder / "helper.sock"
        threading.Thread(target=self._clear, name="ssh-end", daemon=True).start()

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _clear(self) -> None:
        """Remove its files once it has ended, however that came."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def open_ssh(destination: Destination, identity: Path, bundle: Bundle, places: Places) -> Ssh:
    """Connect, bring the bundle if it is missing, have the helper run; HostUnreachable says what failed."""
    folder = Path(tempfile.mkdtemp(prefix="cumulet-line-"))
    (folder / "known_hosts").write_text(f"host {destination.host_key}\n")
    words = (folder / "words").open("w+b")
    process = subprocess.Popen(
        ssh_command(destination, identity, bundle, places, folder),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words,
    )  # fmt: skip
    in_time = threading.Timer(OPEN_SECONDS, process.kill)
    in_time.start()
    try:
        with words:
            arrive(process, bundle, words)
    except HostUnreachable as failure:
        process.kill()
        Ssh(process, folder)
        raise HostUnreachable(f"{destination.user}@{destination.host}: {failure}") from failure
    finally:
        in_time.cancel()
    return Ssh(process, folder)


def ssh_command(
    destination: Destination, identity: Path, bundle: Bundle, places: Places, folder: Path
) -> list[str]:
    """Write the command that forwards a helper's socket, and has the helper run."""
    code = files("cumulet.line").joinpath("arrive.py").read_text()
    there = places.run / f"{bundle.digest[:16]}.sock"
    remote = (
        places.python, "-c", code, bundle.digest, len(bundle.content), bundle.python, bundle.machine,
        places.root, places.run,
    )  # fmt: skip
    options = [f"-o{option}" for option in (*OPTIONS, f"UserKnownHostsFile={folder / 'known_hosts'}")]
    return [
        "ssh", "-F", "none", "-T", *options, "-i", str(identity), "-p", str(destination.port),
        "-L", f"{folder / 'helper.sock'}:{there}", "-l", destination.user, destination.host,
        shlex.join(str(word) for word in remote),
    ]  # fmt: skip


def arrive(process: subprocess.Popen[bytes], bundle: Bundle, words: IO[bytes]) -> None:
    """Answer what the host asks for until its helper runs."""
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    for line in process.stdout:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # a shell that greets
        if "refused" in said:
            raise HostUnreachable(said["refused"])
        if "ready" in said:
            return
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(bundle.content)
            process.stdin.flush()
    words.seek(0)
    ended = words.read().decode(errors="replace").strip().splitlines()
    raise HostUnreachable(
        with_cure(ended[-1]) if ended else f"SSH ended without a word, or said none for {OPEN_SECONDS:g} s"
    )


def with_cure(problem: str) -> str:
    """Say with what ssh said what can be done about it."""
    cures = [cure for said, cure in CURES.items() if said in problem]
    return f"{problem.rstrip('.')}: {cures[0]}" if cures else problem
