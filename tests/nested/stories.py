"""What is played on a nested machine, with the product's own parts; what each story finds is told to the tests outside."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

import msgspec
from tests.nested.resets import reset_all_sorts, time_cleanings

from cumulet.hypervisor.pci import read_gpus

FACTS: Final = 3
"""The descriptor that leads out."""

STORIES: Final[dict[str, Callable[[], object]]] = {
    "inventory": read_gpus,
    "resets": reset_all_sorts,
    "cleanings": time_cleanings,
}


def main(names: list[str]) -> None:
    """Play them and tell of each as soon as it has ended."""
    for name in names:
        os.write(FACTS, msgspec.json.encode({name: STORIES[name]()}) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
