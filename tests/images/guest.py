"""A real guest under plain QEMU, without libvirt: what an image must show before anything is built on it."""

from __future__ import annotations

import codecs
import json
import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QEMU = """
qemu-system-x86_64 -machine q35 -cpu max -smp {vcpus} -m {memory_mib} -accel tcg,thread=multi,tb-size=128
-nodefaults -display none -vga std
-drive file={folder}/disk.qcow2,if=virtio,cache=unsafe
-drive file={folder}/seed.iso,if=virtio,format=raw,readonly=on
-netdev user,id=n -device virtio-net-pci,netdev=n -device virtio-rng-pci
-device virtio-serial-pci -chardev socket,id=a,path={folder}/agent,server=on,wait=off
-device virtserialport,chardev=a,name=org.qemu.guest_agent.0
-chardev socket,id=s,path={folder}/console,server=on,wait=off -serial chardev:s
-qmp unix:{folder}/monitor,server=on,wait=off
"""


class Guest:
    """A running QEMU: its serial console, its monitor and its guest agent's channel."""

    def __init__(self, process: subprocess.Popen[bytes], console: socket.socket, folder: Path) -> None:
        self.process = process
        self.seen = ""
        self._read_up_to = 0
        self._folder = folder
        self._console = console
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def wait_for(self, pattern: str, *, seconds: float = 60) -> re.Match[str]:
        """Read the console until a pattern shows after what was waited for before."""
        deadline = time.monotonic() + seconds
        while not (found := re.compile(pattern).search(self.seen, self._read_up_to)):
            left = max(0, deadline - time.monotonic())
            assert select.select([self._console], [], [], left)[0], (
                f"no {pattern!r} within {seconds} s:\n{self.seen[-3000:]}"
            )
            read = self._console.recv(65536)
            assert read, f"the guest is gone, its last words:\n{self.seen[-3000:]}"
            self.seen += self._decode(read)
        self._read_up_to = found.end()
        return found

    def type(self, line: str) -> None:
        """Type a line on the serial console."""
        self._console.sendall(line.encode() + b"\n")

    def log_in(self, password: str) -> None:
        """Log in as root on the serial console."""
        self.type("")
        self.wait_for("login: ")
        self.type("root")
        self.wait_for("[Pp]assword: ")
        self.type(password)
        self.wait_for("# ")

    def output_of(self, command: str) -> str:
        """Run a command in the shell that `log_in` opened."""
        self.type(f"{command}; echo end-$?-of")
        output = self.wait_for(r"echo end-\$\?-of\r\n((?:.|\n)*?)end-\d+-of\r\n")[1].replace("\r", "")
        self.wait_for("# ")
        return output

    def press_power_button(self) -> None:
        """Ask by ACPI."""
        with connect(self._folder / "monitor") as monitor:
            ask(monitor, "qmp_capabilities")
            ask(monitor, "system_powerdown")

    def ask_agent(self, command: str, **arguments: object) -> object:
        """Call the guest agent."""
        with connect(self._folder / "agent") as agent:
            return ask(agent, command, **arguments)


def ask(channel: socket.socket, command: str, **arguments: object) -> object:
    """Send a command of QEMU's protocol and return its answer."""
    channel.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
    for line in channel.makefile():
        answer = json.loads(line)
        assert "error" not in answer, f"{command}: {answer['error']}"
        if "return" in answer:
            return answer["return"]
    raise AssertionError(f"{command} was not answered")


def connect(path: Path, *, seconds: float = 30) -> socket.socket:
    """Connect to a socket that QEMU is about to make."""
    deadline = time.monotonic() + seconds
    while True:
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(seconds)
        try:
            channel.connect(str(path))
        except OSError:
            channel.close()
            assert time.monotonic() < deadline, f"{path} did not come"
            time.sleep(0.02)
        else:
            return channel


@contextmanager
def booted(
    image: Path, seed: bytes, folder: Path, *, memory_mib: int = 256, vcpus: int = 1
) -> Iterator[Guest]:
    """Boot a disk of 3 GiB that begins as the image; the same folder again boots what became of it."""
    disk = folder / "disk.qcow2"
    if not disk.exists():
        overlay = [
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            "qcow2",
            "-b",
            str(image),
            str(disk),
            "3G",
        ]
        subprocess.run(overlay, check=True)
    (folder / "seed.iso").write_bytes(seed)
    command = QEMU.format(folder=folder, memory_mib=memory_mib, vcpus=vcpus).split()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        with connect(folder / "console") as console:
            yield Guest(process, console, folder)
    finally:
        process.kill()
        process.wait()
