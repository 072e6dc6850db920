"""The command line's tests run commands against a real server process on made-up hosts."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.made_up import store_image
from tests.ports import free_port

from cumulet.cli import run
from cumulet.images import ImageStore

START_SECONDS = 60
IMAGES = ("micro", "debian-12")


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cumulet = Callable[..., Done]


def own_settings(data_dir: Path) -> dict[str, str]:
    """The settings of a server of one's own on made-up hosts, whose images are there."""
    data_dir.mkdir(exist_ok=True)
    for id in IMAGES:
        store_image(ImageStore(data_dir / "images"), id)
    return {
        "CUMULET_DATA_DIR": str(data_dir),
        "CUMULET_LISTEN": f"127.0.0.1:{free_port()}",
        "CUMULET_HYPERVISOR": "memory:?hosts=1&vcpus=8&memory_gib=60",
    }


def plain_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these settings of ours and no others."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CUMULET_")} | settings


@contextmanager
def serving(settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; gives its process."""
    argv = (sys.executable, "-m", "cumulet", "serve")
    log = (
        Path(settings["CUMULET_DATA_DIR"]) / "serve.log"
    )  # a pipe that nobody reads would hold the server up
    with (
        log.open("wb") as stderr,
        subprocess.Popen(argv, env=plain_environment(settings), stderr=stderr) as server,
    ):
        deadline = time.monotonic() + START_SECONDS
        while not healthy(settings):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        try:
            yield server
        finally:
            server.terminate()


def url_of(settings: Mapping[str, str]) -> str:
    scheme = "https" if "CUMULET_TLS_CERT" in settings else "http"
    return f"{scheme}://{settings['CUMULET_LISTEN']}"


def healthy(settings: Mapping[str, str]) -> bool:
    try:
        return httpx.get(f"{url_of(settings)}/healthz", verify=False).is_success  # noqa: S501 - it is asked whether it runs, not who it is
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="session")
def settings(tmp_path_factory) -> Iterator[dict[str, str]]:
    """A server that all tests share; each names its VMs unlike the others."""
    settings = own_settings(tmp_path_factory.mktemp("cloud"))
    with serving(settings):
        yield settings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of one's own, without keys, and no settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("CUMULET_", "XDG_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def command(monkeypatch, capsys) -> Cumulet:
    """Run a command as a process would: `command("vm", "list")`."""

    def ask(*words: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            code = run(words)
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return Done(code, printed.out, printed.err)

    return ask


@pytest.fixture
def cumulet(settings, command, monkeypatch) -> Cumulet:
    """Run a command of somebody on the server's machine."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return command


@pytest.fixture
def public_key(home) -> Path:
    """An SSH key pair in one's home; gives the public half."""
    private = home / ".ssh/id_ed25519"
    private.parent.mkdir(mode=0o700)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann@home", "-f", private], check=True
    )
    return private.with_suffix(".pub")
