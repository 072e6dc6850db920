"""From `vm create` to SSH, split into ours and the guest's, beside the same image started by hand on the same accelerator."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.figure import Figure, say
from bench.server import Server, next_port, wait_until
from bench.stage import Stage

IMAGES: Final = ("micro", "debian-12")
WITHIN: Final = 300
"""Seconds that a guest may take where the CPU is emulated and shared."""


def measure(stage: Stage) -> list[Figure]:
    """Boot each image through the API and by hand, one guest at a time."""
    key = stage.folder / "id"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key), check=True)
    return [figure for image in IMAGES for figure in boots(stage.real_server, image, key, stage.folder)]


def boots(server: Server, image: str, key: Path, folder: Path) -> list[Figure]:
    """Boot one image both ways."""
    say(f"boots: {image} by `vm create`")
    name = f"boot-{image}"
    began = time.perf_counter()
    server.create(name, bootDiskImageId=image, customSshKeys=[key.with_suffix(".pub").read_text()])
    wait_until(lambda: server.shown(name)["state"] == "ACTIVE", f"{name} runs")
    running = time.perf_counter() - began
    wait_until(
        lambda: answers_ssh(server.shown(name)["externalIpAddress"], 22, key),
        f"{name} answers",
        within=WITHIN,
    )
    total = time.perf_counter() - began
    (seed,) = (server.data_dir / "host/seeds").glob("*.iso")
    by_hand = booted_by_hand(image, seed.read_bytes(), key, folder, server.data_dir)
    server.terminate(name)
    detail = f"ours {running:.1f} s, the guest's {total - running:.1f} s; by hand {by_hand:.1f} s"
    return [Figure(f"boot to SSH: {image}", f"{total:.1f} s ({detail})")]


def booted_by_hand(image: str, seed: bytes, key: Path, folder: Path, data_dir: Path) -> float:
    """Start QEMU with an overlay of the image and the very seed; give the seconds until it answers SSH."""
    say(f"boots: {image} by hand")
    own_seed, disk, port = folder / f"{image}.iso", folder / f"{image}.qcow2", next_port()
    own_seed.write_bytes(seed)
    began = time.perf_counter()
    base = (data_dir / "images" / image / "image.qcow2").resolve()
    overlay = ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, disk, "10G")
    subprocess.run(overlay, check=True)
    with qemu(disk, own_seed, port):
        wait_until(lambda: answers_ssh("127.0.0.1", port, key), f"{image} answers", within=WITHIN)
        return time.perf_counter() - began


@contextmanager
def qemu(disk: Path, seed: Path, port: int) -> Iterator[None]:
    """Run a guest with the devices that ours have, behind a port of the loopback."""
    drives = (f"if=virtio,file={disk},format=qcow2", f"if=virtio,file={seed},format=raw,readonly=on")
    process = subprocess.Popen(
        (
            "qemu-system-x86_64",
            *("-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "1"),
            *("-drive", drives[0], "-drive", drives[1], "-device", "virtio-rng-pci"),
            *("-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{port}-:22"),
            *("-display", "none", "-serial", "none", "-monitor", "none"),
        )
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def answers_ssh(address: str, port: int, key: Path) -> bool:
    """Whether SSH lets us in."""
    options = (
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "BatchMode=yes",
        "ConnectTimeout=5",
    )
    words = [word for option in options for word in ("-o", option)]
    command = ("ssh", "-F", "/dev/null", "-i", key, *words, "-p", str(port), f"root@{address}", "true")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
