"""Images converted by qemu-img, which tells how far it is and dies with this process."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Final

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.mortal import dies_with_us

LOOK_SECONDS: Final = 0.05
PERCENT: Final = re.compile(rb"(\d+\.\d+)/100%")


def convert(source_opts: str, target: str, *, to: str, progress: Callable[[float], None]) -> None:
    """Convert an image; `progress` hears how much of it is done, and may end it by what it raises.

    `source_opts` and `target` are as qemu-img has them, `to` is the target's format. HypervisorError has its words.
    """
    argv = dies_with_us("qemu-img", "convert", "-p", "--image-opts", "-O", to, source_opts, target)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as copying:
        try:
            for fraction in percents(copying):
                progress(fraction)
        finally:
            copying.kill()
        problem = copying.stderr.read().decode(errors="replace").strip() if copying.stderr else ""
    if copying.returncode != 0:
        raise HypervisorError(problem or f"qemu-img ended with {copying.returncode}")


def percents(copying: subprocess.Popen[bytes]) -> Iterator[float]:
    """Tell how much qemu-img has done, as often as it says so and at least every moment."""
    if copying.stdout is None:
        return
    os.set_blocking(copying.stdout.fileno(), False)
    fraction = 0.0
    while copying.poll() is None:
        percents = PERCENT.findall(copying.stdout.read() or b"")
        fraction = float(percents[-1]) / 100 if percents else fraction
        yield fraction
        time.sleep(LOOK_SECONDS)
