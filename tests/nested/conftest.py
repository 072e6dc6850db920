"""The machines that are booted, each once, and what was seen on them."""

from __future__ import annotations

import fcntl
import tempfile
from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Told:
    """What stories found, told by the machine that they were played on."""

    facts: dict[str, msgspec.Raw]
    """By story."""
    output: str
    """What it printed."""

    def of(self, story: str, kind: type[T] | Any = Any) -> T:
        """What a story found; the test fails when it did not end, with what the machine printed instead."""
        if story not in self.facts:
            pytest.fail(f"the story {story} did not end:\n{self.output}")
        return msgspec.json.decode(self.facts[story], type=kind)


Play = Callable[..., Told]


@pytest.fixture(scope="session")
def play() -> Play:
    """Plays stories, in their order, on a machine that is described as for `run_nested`."""
    kept, files = lab_dir(), kept_files()

    def play_on_a_machine(*stories: str, **machine: Any) -> Told:
        command = f"cd {REPOSITORY} && .venv/bin/python -m tests.nested.stories {' '.join(stories)}"
        folder = Path(tempfile.mkdtemp(prefix="nested-", dir=kept))
        ended = run_nested(command, folder, files=files, **machine)
        facts = (msgspec.json.decode(fact, type=dict[str, msgspec.Raw]) for fact in ended.facts)
        return Told(dict(ChainMap(*facts)), f"{ended.output}\n{ended.console}")

    return play_on_a_machine


@pytest.fixture(scope="session")
def told(play, worker_id, tmp_path_factory) -> Told:
    """All that was seen on a machine that has everything, which boots once for all processes of a run."""
    if worker_id == "master":
        return see_everything(play)
    seen = tmp_path_factory.getbasetemp().parent / "nested.json"
    with seen.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not seen.exists():
            seen.write_bytes(msgspec.json.encode(see_everything(play)))
    return msgspec.json.decode(seen.read_bytes(), type=Told)


def see_everything(play: Play) -> Told:
    reserved = f"{IOMMU_ON} memmap=64K${places.SECRET_AT:#x}"
    return play(*SEEN, hardware=hardware.ALL, kernel=reserved)


@pytest.fixture(scope="session")
def seen(told) -> HostGpus:
    """Its GPUs, as the product reads them."""
    return told.of("inventory", HostGpus)
