"""A disk that is soon full."""

import shutil
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


@contextmanager
def cramped(file: Path, directory: Path) -> Iterator[None]:
    """Have a file lie there on such a file system meanwhile; what is written to it is lost in the end."""
    with small(directory):
        copy = shutil.copy(file, directory)
        subprocess.run(("mount", "--bind", copy, file), check=True)
        try:
            yield
        finally:
            subprocess.run(("umount", "--lazy", file), check=True)


def enlarge(directory: Path) -> None:
    """Give a small file system room for more."""
    subprocess.run(("mount", "-o", "remount,size=64M", directory), check=True)
