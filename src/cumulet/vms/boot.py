"""What a guest's first boot comes to, in words: where it is, what went wrong, whether its kernel panicked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from cumulet.hypervisor import Guest

NO_ADDRESS: Final = "no-address"
"""A stage of ours: the guest is there, but its network is not."""
NO_WORD: Final = "no-word"
"""Another: nothing at all is heard of the guest."""
ADDRESS_TIMEOUT: Final = timedelta(seconds=30)
"""How long after its start a guest may be without an address before that is told."""
STAGES: Final[Mapping[str, str]] = {
    NO_ADDRESS: "it has no IPv4 address: its network is not configured, or its DHCP gets no answer",
    NO_WORD: "no output from the guest yet: its image may not boot, or has neither an agent nor a serial console",
    "init-local": "cloud-init looks for its seed",
    "init": "cloud-init sets up users, keys and files",
    "init-network": "cloud-init sets up users, keys and files",
    "modules-config": "cloud-init configures the system",
    "modules:config": "cloud-init configures the system",
    "modules-final": "cloud-init runs its last modules",
    "modules:final": "cloud-init runs its last modules",
    "start-script": "running its start script",
}
CLOUD_INIT: Final = re.compile(r"Cloud-init v\. \S+ running '([a-z:-]+)' at")
"""What cloud-init writes to the console when a stage begins: most are over before the guest's agent starts."""
NOT_THE_GUEST: Final = re.compile(
    r"\x1b\[[0-9;?=]*[A-Za-z]|BdsDxe: .*|UEFI Interactive Shell v(?s:.*?)Shell> "
)
"""What a UEFI writes to the console, be there a guest or not: of what it tries, and of its shell when nothing starts."""
LONGEST_LINE: Final = 300
PANIC: Final = re.compile(r"\[ *\d+\.\d+\](?:\[[^\]]*\])? Kernel panic - not syncing: .*")
TIMED: Final = re.compile(r"\[ *(\d+\.\d+)\]")


def stage_of(guest: Guest, age: timedelta) -> str:
    """Say where the first boot of a guest that answers is; `""` when it does not tell."""
    if guest.first_boot_done:
        return ""
    if guest.has_address is False and age >= ADDRESS_TIMEOUT:
        return NO_ADDRESS
    return guest.stage


def stage_in(console: str) -> str:
    """Find the stage that cloud-init told the console last; `""` if it told none."""
    stages = CLOUD_INIT.findall(console)
    return stages[-1] if stages else ""


def is_wordless(console: str) -> bool:
    """Whether no guest has written to its console."""
    return not NOT_THE_GUEST.sub("", console).strip()


def waits_for(stage: str, *, runs: bool) -> str:
    """Say what a machine that runs waits for as far as its guest is concerned: a first word."""
    return stage_in_words(stage) if runs and stage == NO_WORD else ""


def stage_in_words(stage: str) -> str:
    """Tell a stage to people."""
    return STAGES.get(stage, f"cloud-init is at {stage[:LONGEST_LINE]}" if stage else "")


def end_in_words(guest: Guest) -> str:
    """Tell how a first boot ended, but for the start script's status."""
    address = "; it has no IPv4 address" if guest.has_address is False else ""
    count = len(guest.problems)
    problems = f"; cloud-init reported {count} problems, first: {guest.problems[0]}" if count else ""
    return address + problems


def last_words(log: str) -> str:
    """The last line of a log, as far as anybody reads it; what went back to its beginning is part of it."""
    return " ".join(log.rpartition("\n")[2].split())[:LONGEST_LINE]


def panic_in(console: str) -> str:
    """Find the panic that a console ends with; `""` when the guest has written something else since.

    A panicked kernel writes nothing but its trace, each line with a time that is not before the panic's. Whatever a
    later start writes is without a time, or earlier in its own.
    """
    found = list(PANIC.finditer(console))
    if not found:
        return ""
    panic = found[-1]
    rest = console[panic.end() :].splitlines()
    return (
        panic[0][:LONGEST_LINE].strip()
        if all(belongs(line, panic[0]) for line in rest if line.strip())
        else ""
    )


def belongs(line: str, panic: str) -> bool:
    """Whether a line of the console is of that panic's trace."""
    line_time, panic_time = TIMED.search(line), TIMED.search(panic)
    return bool(line_time and panic_time and float(line_time[1]) >= float(panic_time[1]))


def why_of(panic: str) -> str:
    """The reason that a panic gives."""
    return panic.partition("not syncing: ")[2]


def problems_text(problems: Sequence[str]) -> str:
    """One problem a line, as the row keeps them."""
    return "\n".join(" ".join(problem.split()) for problem in problems)
