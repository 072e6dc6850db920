"""`cumulet watch`: what happens in a project, a line each, for as long as somebody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from cyclopts import Parameter

from cumulet.cli.client import Client, Declined, Json, connect
from cumulet.cli.follow import NOT_FOUND, VM, read_span
from cumulet.cli.output import UNSAFE, local_time, printable
from cumulet.cli.words import Project, VmNames
from cumulet.errors import Unavailable

STREAM: Final = "/v1/projects/{}/events/stream"
PAUSE_S: Final = 1.0
"""Before it is tried again."""


def watch(
    *vms: VmNames,
    since: str = "",
    output: Annotated[Literal["table", "json"], Parameter(name=["--output", "-o"])] = "table",
    project: Project = "default",
) -> None:
    """Follow what happens to VMs, or to all that is in a project, until you press Ctrl-C.

    A connection that is lost is opened again: nothing is missed, and nothing shown twice.

    :param since: Begin with what happened so long ago: 10m, 2h, 1d.
    :param output: A line for people, or the API's JSON, each event in a line.
    """
    wishes: dict[str, Any] = {"kind": "vm", "resource": vms} if vms else {}
    if since:
        begin = datetime.now(UTC) - timedelta(seconds=read_span("--since", since))
        wishes["since"] = begin.isoformat()
    client = connect()
    for vm in vms:
        tell_if_absent(client, project, vm)
    for event in told(client, project, wishes):
        print(as_json(event) if output == "json" else as_text(event), flush=True)  # noqa: T201 - what this is for


def tell_if_absent(client: Client, project: str, vm: str) -> None:
    """Say so where there is no such VM, which may come, or be gone already, or be another's misspelt name."""
    try:
        client.get(VM, project, vm)
    except Declined as declined:
        if declined.code != NOT_FOUND:
            raise
        words = printable(declined.message)
        print(f"cumulet: {words}; waiting for one of that name", file=sys.stderr)  # noqa: T201 - likewise


def told(client: Client, project: str, wishes: dict[str, Any]) -> Iterator[Json]:
    """Give events for ever; Declined when they are not for us, or not any more, Unavailable when nobody answers at first."""
    reader = Reader(wishes)
    while True:
        try:
            yield from reader.read(client.lines(STREAM, project, **reader.wishes))
        except Unavailable:
            if not reader.has_begun:
                raise
        reader.tell_that_it_waits()
        time.sleep(PAUSE_S)


class Reader:
    """Somebody who reads a stream, and knows how far."""

    def __init__(self, wishes: dict[str, Any]) -> None:
        self.wishes = wishes
        """What to ask for the next time."""
        self._is_waiting = False

    @property
    def has_begun(self) -> bool:
        """Whether a stream has told where it is."""
        return "lastEventId" in self.wishes

    def read(self, lines: Iterator[str]) -> Iterator[Json]:
        """Give the events of a stream until it ends."""
        block: dict[str, str] = {}
        for line in lines:
            if line:
                name, _, value = line.partition(":")
                block[name] = value.removeprefix(" ")
                continue
            yield from self._read_block(block)
            block = {}

    def _read_block(self, block: dict[str, str]) -> Iterator[Json]:
        self._is_waiting = False
        data: Json = msgspec.json.decode(block.get("data", "{}"))
        if block.get("event") == "end":
            if data["code"] != Unavailable.code:
                raise Declined(data["message"], code=data["code"], details=data["details"])
            return
        if data:
            yield data
        if "id" in block:
            self.wishes["lastEventId"] = block["id"]

    def tell_that_it_waits(self) -> None:
        """Say once that the connection was lost."""
        if not self._is_waiting:
            print("cumulet: the connection was lost; trying again", file=sys.stderr)  # noqa: T201 - what this is for
        self._is_waiting = True


def as_json(event: Json) -> str:
    """Write an event in a line; what a terminal would obey is told by its escapes."""
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", msgspec.json.encode(event).decode())


def as_text(event: Json) -> str:
    """Write an event for people."""
    what = f"{event['kind']} {event['resourceId']}".strip()
    return printable(
        f"{local_time(event['time'])}  {what}: {event['text']}  ({event['actor']})".replace("\n", " ")
    )
