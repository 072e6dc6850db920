"""Asking VMs to start, stop, restart or go; one that is as it was asked to be already is no failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cumulet.cli.client import Client, Declined
from cumulet.cli.follow import VM, Verb, Wait, follow
from cumulet.cli.progress import Progress
from cumulet.cli.several import each

FAILED_PRECONDITION: Final = 9
GOALS: Final[Mapping[Verb, tuple[str, str]]] = {
    "start": ("ACTIVE", "STARTING"),
    "stop": ("STOPPED", "STOPPING"),
}
"""The state that a verb leads to, and the one on the way there. A restart has none: it is asked for each time."""


def ask(client: Client, verb: Verb, names: Sequence[str], *, project: str, until: float | None) -> None:
    """Ask the same of VMs, all of them before the first is waited for; nothing is waited for without `until`."""
    there: set[str] = set()

    def ask_one(name: str) -> None:
        if not ask_vm(client, verb, name, project=project):
            Progress().say(f"{name} is already {'stopped' if verb == 'stop' else 'running'}")
            there.add(name)

    def wait(name: str) -> None:
        if until is not None and name not in there:
            follow(Wait(client, project, name, verb, until), Progress())

    each(names, ask_one, wait)


def ask_vm(client: Client, verb: Verb, name: str, *, project: str) -> bool:
    """Ask something of a VM; False when it is so already."""
    try:
        client.post(f"{VM}/{verb}", project, name)
    except Declined as declined:
        if declined.code != FAILED_PRECONDITION or verb not in GOALS:
            raise
        there, on_the_way = GOALS[verb]
        state = client.get(VM, project, name)["VM"]["state"]
        if state not in {there, on_the_way}:
            raise
        return bool(state == on_the_way)
    return True
