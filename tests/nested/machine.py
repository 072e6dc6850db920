"""An emulated machine with an IOMMU, whose root is this machine's own as it is: what only such hardware shows, shown anywhere.

It boots in some seconds under TCG. `tests/nested/init` has what it is made of.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.nested.boot_files import BootFiles

VTD: Final = ("-device", "intel-iommu,intremap=on,caching-mode=on")
VTD_WITHOUT_REMAPPING: Final = ("-device", "intel-iommu,intremap=off,caching-mode=on")
IOMMU_ON: Final = "intel_iommu=on iommu=pt"
PORTS: Final = ("output", "facts", "status")


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a command on a nested machine."""

    status: int | None
    """How it ended; None when the machine did not live that long."""
    output: str
    facts: tuple[str, ...]
    """What it told on descriptor 3, by lines."""
    console: str
    """The kernel's last words."""


def run_nested(
    command: str,
    folder: Path,
    *,
    files: BootFiles,
    hardware: Sequence[str] = VTD,
    kernel: str = IOMMU_ON,
    memory_mib: int = 1024,
    seconds: float = 600,
) -> Ended:
    """Boot a machine with that hardware, run a command of bash there and let it end; `folder` has what is told meanwhile."""
    script, initrd = folder / "command", folder / "initrd"
    script.write_text(command)
    files.make_initrd(initrd)
    argv = (
        *("qemu-system-x86_64", "-machine", "q35,accel=tcg,kernel-irqchip=off", "-cpu", "max"),
        *("-smp", "2", "-m", str(memory_mib), "-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(files.kernel), "-initrd", str(initrd)),
        *("-append", f"console=ttyS0 quiet panic=1 {kernel} -- {files.modules} {script}"),
        *("-serial", f"file:{folder}/console"),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
        *port_arguments(folder),
        *hardware,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):  # which a status that is missing tells
        subprocess.run(argv, check=True, timeout=seconds, stdin=subprocess.DEVNULL)
    output, facts, status = ((folder / port).read_text(errors="replace") for port in PORTS)
    return Ended(
        int(status) if status else None,
        output,
        tuple(facts.splitlines()),
        (folder / "console").read_text(errors="replace")[-4000:],
    )


def port_arguments(folder: Path) -> Iterator[str]:
    """Give the machine a port for each thing that is told, which a file takes down."""
    yield from ("-device", "virtio-serial")
    for number, port in enumerate(PORTS, 1):
        yield from ("-chardev", f"file,id={port},path={folder}/{port}")
        yield from ("-device", f"virtserialport,chardev={port},nr={number}")
