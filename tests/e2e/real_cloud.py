"""A real cloud for tests: `cumulet serve` as a process of its own on the private host, to be killed and started again."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.waiting import eventually

from cumulet.images import ImageStore
from cumulet.images.recipes import RECIPES

PORT = 8480
URL = f"http://127.0.0.1:{PORT}"
ONE_CONNECTION = {"ControlMaster": "auto", "ControlPersist": 5}
BROKEN = 255
"""How ssh ends when there is no connection, or none any more."""


def lab_dir() -> Path:
    if "LAB_DIR" not in os.environ:
        pytest.fail("this test needs a private host: run it with tests/lab/enter")
    return Path(os.environ["LAB_DIR"])


def built_images() -> Path:
    """Where the images are that guests boot from, built before: a private host has no way to Debian's archive."""
    folder = Path(os.environ.get("CUMULET_TEST_IMAGES", "/var/cache/cumulet-test/images"))
    stored = {image.id for image in ImageStore(folder).list()}
    if missing := sorted(RECIPES.keys() - stored):
        pytest.fail(
            f"build the images first: CUMULET_DATA_DIR={folder.parent} cumulet image build {' '.join(missing)}"
        )
    return folder


@dataclass(frozen=True)
class SshKey:
    """A key pair."""

    path: Path

    @classmethod
    def make(cls, path: Path) -> SshKey:
        subprocess.run(
            ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path), check=True
        )
        return cls(path)

    @property
    def public(self) -> str:
        return self.path.with_suffix(".pub").read_text().strip()


class RealCloud:
    """The server in its own process, and its API as its owner sees it."""

    def __init__(self, folder: Path, images: Path, *, resolver: str, port: int = PORT) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.command = (sys.executable, "-m", "cumulet", "serve")
        self.settings = {"CUMULET_LISTEN": f"127.0.0.1:{port}"}
        self.data_dir = folder / "data"
        self.log = folder / "serve.log"
        self.data_dir.mkdir(parents=True, mode=0o755)
        (self.data_dir / "images").symlink_to(images)
        self.catalogue = folder / "catalogue.toml"
        offered = (files("cumulet.catalogue") / "default.toml").read_text()
        self.catalogue.write_text(offered.replace("resolvers = []", f'resolvers = ["{resolver}"]'))
        self.key = SshKey.make(folder / "id")
        self.made: list[Vm] = []
        """VMs that were asked for, also those that are gone."""
        # An idle connection is given up before the server does: a request must not meet its end.
        self.api = httpx.Client(base_url=self.url, timeout=60, limits=httpx.Limits(keepalive_expiry=2))

    def start(self) -> None:
        """Start the server and return when it answers."""
        self.process = self.launch()
        eventually(self.answers)
        self.api.headers["Authorization"] = f"Bearer {(self.data_dir / 'admin.key').read_text().strip()}"

    def launch(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start a server process."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CUMULET_")}
        own = {"CUMULET_DATA_DIR": str(self.data_dir), "CUMULET_CATALOGUE": str(self.catalogue)}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command,
                env=inherited | own | self.settings | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def answers(self) -> bool:
        assert self.process.poll() is None, f"the server ended: {self.log.read_text()[-3000:]}"
        try:
            return httpx.get(f"{self.url}/v1/vms/gpu-models", timeout=5).is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, as an operator does, and see that it does in order."""
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, self.log.read_text()[-3000:]

    def offer(self, catalogue: str) -> None:
        """Start it anew with another catalogue."""
        self.stop()
        self.catalogue.write_text(catalogue)
        self.start()

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """An answer of the API; a refusal fails the test."""
        answer = self.api.request(method, path, **request)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def column(self, query: str, *values: str) -> list[str]:
        """The first column of what the database answers."""
        with closing(sqlite3.connect(f"file:{self.data_dir}/cumulet.db?mode=ro", uri=True)) as db:
            return [row[0] for row in db.execute(query, values)]

    def ask_pass(self, password: str) -> dict[str, str]:
        """The environment in which ssh gets the password from a program instead of a person."""
        program = self.folder / "ask-pass"
        program.write_text('#!/bin/sh\necho "$PASSWORD"\n')
        program.chmod(0o700)
        return {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", "PASSWORD": password}

    def make_project(self, id: str) -> str:
        self.ask("POST", "/v1/projects", json={"id": id})
        return id

    def create(self, name: str, *, image: str = "micro", project: str = "default", **wishes: Any) -> Vm:
        """Ask for a VM, as small as can be but for the wishes."""
        smallest = {
            "dataCenterId": "local",
            "machineType": "standard",
            "vmId": name,
            "bootDiskImageId": image,
            "vcpus": 1,
            "memoryGib": 1,
            "gpus": 0,
            "customSshKeys": [self.key.public],
        }
        self.ask("POST", f"/v1/projects/{project}/vm", json=smallest | wishes)
        self.made.append(vm := Vm(self, name, project))
        return vm


@dataclass(frozen=True)
class Vm:
    """One VM as its owner has it: by the API and by SSH."""

    cloud: RealCloud
    name: str
    project: str

    @property
    def path(self) -> str:
        return f"/v1/projects/{self.project}/vms/{self.name}"

    def shown(self) -> dict[str, Any]:
        return self.cloud.ask("GET", self.path)["VM"]

    def verb(self, verb: str) -> None:
        self.cloud.ask("POST", f"{self.path}/{verb}")

    def wait_for(self, state: str, *, within: float = 120) -> None:
        def shows() -> bool:
            nonlocal now
            now = self.shown()
            return now["state"] == state

        now: dict[str, Any] = {}
        try:
            eventually(shows, within=within)
        except AssertionError:
            waits = {field: now[field] for field in ("state", "waitingFor", "problem")}
            raise AssertionError(f"{self.name} is not {state} within {within} s: {waits}") from None

    def gone(self) -> bool:
        return self.cloud.api.get(self.path).status_code == httpx.codes.NOT_FOUND

    def timeline(self) -> list[str]:
        """Its story so far, one line an event."""
        entries = self.cloud.ask("GET", f"{self.path}/timeline")["entries"]
        return [f"{entry['event']}: {entry['text']}" for entry in entries]

    def told(self, beginning: str) -> str:
        """The newest line of its timeline that begins so, or nothing."""
        return next((line for line in reversed(self.timeline()) if line.startswith(beginning)), "")

    def internal(self) -> str:
        return str(self.shown()["internalIpAddress"])

    def external(self) -> str:
        return str(self.shown()["externalIpAddress"])

    def ssh(
        self,
        command: str,
        *,
        key: SshKey | None = None,
        password: str = "",
        stdin: bytes = b"",
        timeout: float = 60,
        **options: object,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the guest as root. Its host key is believed the first time, and never another.

        As ssh does with a connection that breaks, one that hangs ends with 255. `options` are ssh's own.
        """
        login = (
            {"PubkeyAuthentication": "no", "NumberOfPasswordPrompts": 1}
            if password
            else {"IdentityFile": (key or self.cloud.key).path, "IdentitiesOnly": "yes", "BatchMode": "yes"}
        )
        options |= login | {
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": self.cloud.folder / f"host-key-of-{self.project}-{self.name}",
            "ConnectTimeout": 5,
            "ServerAliveInterval": 5,
            "LogLevel": "ERROR",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        argv = ("ssh", "-F", "/dev/null", *words, f"root@{self.external()}", command)
        environment = {**os.environ, **self.cloud.ask_pass(password)}
        try:
            return subprocess.run(
                argv, input=stdin, env=environment, capture_output=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as hung:
            return subprocess.CompletedProcess(argv, BROKEN, hung.stdout or b"", str(hung).encode())

    def output_of(self, command: str, **options: Any) -> str:
        """What a command in the guest prints; fails when the command does, or no connection holds three times.

        The owner's connection is kept for a moment, and the next command goes over it: to log in takes a Debian that is
        emulated some twenty times what the command does. Whoever wants to see that one gets in, uses `answers`.
        """
        if not options.keys() & {"key", "password"}:
            options |= ONE_CONNECTION | {"ControlPath": self.cloud.folder / "ssh-%C"}
        for _ in range(3):
            done = self.ssh(command, **options)
            if done.returncode != BROKEN:
                break
        assert done.returncode == 0, f"{self.name}: {command!r} ended with {done.returncode}: {done.stderr!r}"
        return done.stdout.decode()

    def answers(self) -> bool:
        """Whether SSH lets the owner in."""
        return self.ssh("true").returncode == 0

    def wait_for_ssh(self, *, within: float = 180) -> Vm:
        self.wait_for("ACTIVE")
        try:
            eventually(self.answers, within=within)
        except AssertionError:
            said = self.cloud.api.get(f"{self.path}/console-log").text[-2000:]
            story = "\n".join(self.timeline())
            raise AssertionError(f"{self.name} does not answer within {within} s: {story}\n{said}") from None
        return self
