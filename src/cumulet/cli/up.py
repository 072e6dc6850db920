"""`cumulet up`: from a bare machine to a VM that answers SSH. What is done already is left as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from cumulet.cli.background import start_server
from cumulet.cli.client import Client, Declined, Json, connect_here
from cumulet.cli.config import KEY_FILE, local_url
from cumulet.cli.create import CreateOptions, create_body
from cumulet.cli.follow import NOT_FOUND, VM, Wait, follow
from cumulet.cli.keys import find_public_keys, made_key
from cumulet.cli.output import aligned, span, write
from cumulet.cli.own_user import make_user, with_user
from cumulet.cli.progress import Progress
from cumulet.doctor.calls import prepare_host
from cumulet.images import ImageStore, ensure_image
from cumulet.images.cli import progress_bar
from cumulet.images.recipes import HOST_PACKAGES
from cumulet.settings import Settings, read_settings

HELLO: Final = "hello"
PROJECT: Final = "default"
START_SCRIPT: Final = 'echo "hello from $(hostname)" | tee /root/hello\n'
BOOT_SECONDS: Final = 900.0


def up() -> None:
    """Make this machine a cloud and boot a first VM, `hello`; a second time nothing that stands is changed."""
    settings, progress = read_settings(os.environ), Progress()
    why_root = ""
    if not settings.is_made_up:
        with progress.part("host"), progress.live("checking the host"):
            prepare_host(progress.begin, packages=HOST_PACKAGES)
            why_root = make_user(settings)
        settings = with_user(settings)
    build("micro", settings, progress)
    with progress.part("server"), progress.live("starting the server"):
        start_server(settings)
    client = connect_here(settings)
    with progress.part(HELLO):
        vm = boot_hello(client, progress)
    build("debian-12", settings, progress)
    write(report(vm, settings, progress.timings))
    if why_root:
        write(f"\nThe server runs as root: {why_root}.\n")


def build(id: str, settings: Settings, progress: Progress) -> None:
    """Build an image unless it is there as its recipe has it now; made-up hosts come with theirs."""
    if settings.is_made_up:
        return
    with progress.part(f"image {id}"), progress_bar(id) as report:
        ensure_image(ImageStore(settings.images_dir), id, report)


def boot_hello(client: Client, progress: Progress) -> Json:
    """Boot the VM `hello` and wait until its start script ran; one that is there already is left as it is."""
    vm = find_hello(client)
    if vm is None:
        ensure_key()
        options = CreateOptions(image="micro", start_script=START_SCRIPT)
        vm = client.post("/v1/projects/{}/vm", PROJECT, body=create_body(client, HELLO, options))["vm"]
    if vm["guest"]["firstBootDone"] or vm["state"] == "STOPPED":
        return vm
    return follow(Wait(client, PROJECT, HELLO, "create", time.monotonic() + BOOT_SECONDS), progress)


def find_hello(client: Client) -> Json | None:
    """Look whether there is a VM `hello`."""
    try:
        vm: Json = client.get(VM, PROJECT, HELLO)["VM"]
    except Declined as declined:
        if declined.code == NOT_FOUND:
            return None
        raise
    return vm


def ensure_key() -> None:
    """Make an SSH key, for its maker's eyes only, where there is none yet."""
    if not find_public_keys():
        command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "cumulet", "-f", str(made_key()))
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def report(vm: Json, settings: Settings, timings: dict[str, float]) -> str:
    """Say where everything is, what to do next, and how long each part took."""
    url, command = local_url(settings), Path(sys.argv[0])
    cumulet = str(command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command)
    return "\nCumulet is up.\n\n" + aligned(
        [
            ("  API", f"{url}, try it at {url}/docs"),
            ("  key", str(settings.data_dir / KEY_FILE)),
            ("  hello", f"{vm['externalIpAddress']}, {vm['state']}, {vm['accelerator'].upper()}"),
            ("  log in", f"{cumulet} vm ssh {HELLO}"),
            ("  a Debian", f"{cumulet} vm create web --wait"),
            ("  took", ", ".join(f"{part} {span(seconds)}" for part, seconds in timings.items())),
        ]
    )
