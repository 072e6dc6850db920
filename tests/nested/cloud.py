"""A whole cloud on a nested machine: `cumulet up` there, and a VM with its card from the create to the end, all by commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from tests.nested.libvirtd import start_libvirt
from tests.waiting import eventually

DATA: Final = Path("/var/lib/cumulet")
IMAGES: Final = Path("/var/cache/cumulet-test/images")
CATALOGUE: Final = DATA / "catalogue.toml"
LOG: Final = DATA / "serve.log"
KEY: Final = Path("/root/.ssh/id_ed25519")
OFFER: Final = """
[[gpu_models]]
id = "stand-in"
vendor_name = "QEMU"
model_name = "Stand-in"
memory_gib = 1
pci_ids = ["1002:5046"]

[[machine_types]]
id = "with-gpus"
data_center_id = "local"
gpu_model_id = "stand-in"
min_vcpu = 1
max_vcpu = 4
min_memory_gib = 1
max_memory_gib = 4
min_vcpu_per_memory_gib = 0.1
max_vcpu_per_memory_gib = 4
min_vcpu_per_gpu = 1
max_vcpu_per_gpu = 4
vcpu_price_hr = 0.0024
memory_gib_price_hr = 0.0042
gpu_price_hr = 0.87
"""
SEEN: Final = "grep -h PCI_ID= /sys/bus/pci/devices/*/uevent"


@dataclass(frozen=True)
class Clouded:
    """What came of a card in a whole cloud."""

    before: str
    """The card's state before a VM had it."""
    held: str
    seen: list[str]
    """Vendors and devices that the VM's guest found."""
    after: str
    """The card's state once the VM was deleted."""


def run_cloud() -> Clouded:
    """Bring it up, and make a VM with the card, look into it and delete it."""
    (DATA / "images").symlink_to(IMAGES)
    CATALOGUE.write_text((files("cumulet.catalogue") / "default.toml").read_text() + OFFER)
    os.environ |= {"CUMULET_DATA_DIR": str(DATA), "CUMULET_CATALOGUE": str(CATALOGUE), "HOME": "/root"}
    subprocess.run(("modprobe", "tun"), check=True)
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(KEY)), check=True)
    start_libvirt()
    if (
        run("up").returncode != 0
    ):  # all is slow here: it may give up on the server, which is given its time below
        start_server()
    eventually(lambda: run("gpu", "list").returncode == 0, within=900)
    before = eventually(lambda: (now := card()["state"]) == "FREE" and now, within=300)
    cumulet(
        "vm", "create", "with-card", "--image=micro", "--disk=1", "--gpus=1", "--gpu-model=stand-in", "--wait"
    )
    held = card()["state"]
    seen = [line.partition("=")[2].lower() for line in cumulet("vm", "ssh", "with-card", SEEN).splitlines()]
    cumulet("vm", "delete", "with-card", "--wait")
    after = eventually(lambda: (now := card()["state"]) == "FREE" and now, within=300)
    return Clouded(before, held, seen, after)


def start_server() -> None:
    """Start the server in the background, however long it takes."""
    with LOG.open("ab") as log:
        subprocess.Popen(
            (sys.executable, "-m", "cumulet", "serve"), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def card() -> Any:
    """The card as the operator sees it."""
    (found,) = json.loads(cumulet("gpu", "list", "-o", "json"))
    return found


def cumulet(*words: str) -> str:
    """Run a command as a person does; what it refuses ends the story."""
    done = run(*words)
    if done.returncode != 0:
        sys.exit(f"cumulet {' '.join(words)}: {done.stdout}{done.stderr}{LOG.read_text()[-8000:]}")
    return done.stdout


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    argv = (sys.executable, "-m", "cumulet", *words)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    print(*words, done.returncode, done.stderr, flush=True)  # noqa: T201 - for whoever sees it fail
    return done
