"""A disk that is soon full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small(directory: Path) -> Iterator[None]:
    """Have a directory lie on a file system of 1 MiB meanwhile; below `LAB_DIR`, machines that run see that too."""
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1M,mode=711", "small", directory), check=True)
    try:
        yield
    finally:
        subprocess.run(("umount", "--lazy", directory), check=True)
