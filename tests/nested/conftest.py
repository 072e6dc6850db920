"""The machines that are booted, each once, and what was seen on them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from tests.e2e.real_cloud import lab_dir
from tests.nested import hardware, places
from tests.nested.boot_files import kept_files
from tests.nested.machine import IOMMU_ON, run_nested

from cumulet.hypervisor import HostGpus

REPOSITORY = Path(__file__).parents[2]
SEEN = ("inventory", "prepare", "resets", "half", "proof", "removal", "clean", "fault")
"""The stories that tests are about."""
T = TypeVar("T")


class Told:
    """What stories found, told by the machine that they were played on."""

    def __init__(self, facts: Sequence[str], output: str) -> None:
        self._facts: dict[str, msgspec.Raw] = {}
        for fact in facts:
            self._facts |= msgspec.json.decode(fact, type=dict[str, msgspec.Raw])
        self._output = output

    def of(self, story: str, kind: type[T] | Any = Any) -> T:
        """What a story found; the test fails when it did not end, with what the machine printed instead."""
        if story not in self._facts:
            pytest.fail(f"the story {story} did not end:\n{self._output}")
        return msgspec.json.decode(self._facts[story], type=kind)


Play = Callable[..., Told]


@pytest.fixture(scope="session")
def play() -> Play:
    """Plays stories, in their order, on a machine with that hardware."""
    kept, files = lab_dir(), kept_files()

    def play_on_a_machine(*stories: str, hardware: Sequence[str], kernel: str = IOMMU_ON) -> Told:
        command = f"cd {REPOSITORY} && .venv/bin/python -m tests.nested.stories {' '.join(stories)}"
        folder = Path(tempfile.mkdtemp(prefix="nested-", dir=kept))
        ended = run_nested(command, folder, files=files, hardware=hardware, kernel=kernel)
        return Told(ended.facts, f"{ended.output}\n{ended.console}")

    return play_on_a_machine


@pytest.fixture(scope="session")
def told(play) -> Told:
    """All that was seen on a machine that has everything."""
    reserved = f"{IOMMU_ON} memmap=64K${places.SECRET_AT:#x}"
    return play(*SEEN, hardware=hardware.ALL, kernel=reserved)


@pytest.fixture(scope="session")
def seen(told) -> HostGpus:
    """Its GPUs, as the product reads them."""
    return told.of("inventory", HostGpus)
