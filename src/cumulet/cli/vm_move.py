"""`cumulet vm move`: another host for a VM, and how that went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cumulet.cli.client import Client, Json
from cumulet.cli.follow import Failed
from cumulet.cli.vm_wait import wait_until
from cumulet.events import EventName

OUTCOMES: Final = ("is not on its way any more", "is still on its way")
ENDS: Final = (EventName.VM_MOVED, EventName.VM_MOVE_ABORTED)


def follow_move(client: Client, project: str, name: str, *, until: float) -> str:
    """Wait until a VM is where it goes, showing how far it is, and say how it went; Failed when it was called back."""
    ended: list[Json] = []

    def is_there(vm: Json, timeline: Sequence[Json]) -> bool:
        if not vm or vm["state"] == "MIGRATING":
            return False
        ended.extend(entry for entry in timeline if entry["event"] in ENDS)
        return bool(ended)  # the timeline may have been read a moment before the end

    wait_until(client, project, name, is_there, outcomes=OUTCOMES, until=until)
    if ended[-1]["event"] == EventName.VM_MOVE_ABORTED:
        raise Failed(f"VM {name!r} stays where it is: its {ended[-1]['text']}")
    return f"{name} {ended[-1]['text']}\n"
