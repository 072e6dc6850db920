"""A host that is far away, as the cloud sees it: the same Hypervisor as one in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast
from uuid import UUID

from cumulet.hypervisor import (
    Consoles,
    Disks,
    Gpus,
    Guests,
    HostFacts,
    HostUnreachable,
    HypervisorError,
    Images,
    LiveMoves,
    Machines,
    Seeds,
)
from cumulet.line.connections import Connections, Dial
from cumulet.line.failures import told
from cumulet.line.far_images import FarImages
from cumulet.line.frames import Channel, Kind, LineBroken
from cumulet.line.spool import spool_of
from cumulet.line.verbs import DOCTOR, HOST, SPOOL, verbs
from cumulet.line.wire import HostWish

REST_SECONDS: Final = 1.0
"""Between two attempts to follow a host's changes."""

Notify = Callable[[UUID], None]


class FarPart:
    """A part of a host, or its doctor: each verb of it is asked over the line."""

    def __init__(self, part: str, connections: Connections) -> None:
        for (its_part, name), verb in verbs().items():
            if its_part == part:
                setattr(self, name, partial(connections.ask, verb))


class FarHost:
    """A host behind a line. Opening it asks nobody; a line that is down tells who calls, and only them."""

    def __init__(self, dial: Dial, wish: HostWish, *, hang_up: Callable[[], None] = lambda: None) -> None:
        """`hang_up` lets go of what `dial` goes over."""
        self._hang_up = hang_up
        self._connections = connections = Connections(dial, wish)
        self.changes = FarChanges(connections)
        self._host: Any = FarPart(HOST, connections)
        self.doctor: Any = FarPart(DOCTOR, connections)
        """The doctor's calls by their names, as in `doctor.calls`, done where the host is."""
        self.images: Images = FarImages(
            FarPart("images", connections), FarPart(SPOOL, connections), spool_of(wish.state_dir), wish.ceph
        )
        self.disks = cast("Disks", FarPart("disks", connections))
        self.seeds = cast("Seeds", FarPart("seeds", connections))
        self.machines = cast("Machines", FarPart("machines", connections))
        self.moves = cast("LiveMoves", FarPart("moves", connections))
        self.guests = cast("Guests", FarPart("guests", connections))
        self.consoles = cast("Consoles", FarPart("consoles", connections))
        self.gpus = cast("Gpus", FarPart("gpus", connections))

    def facts(self) -> HostFacts:
        """Say what the host has."""
        return cast("HostFacts", self._host.facts())

    def ping(self) -> None:
        """Return when the host's helper and its hypervisor answer."""
        self._host.ping()

    def on_change(self, notify: Notify) -> None:
        """Call `notify(vm id)`, from a thread of ours, for each change, and for each machine after an outage."""
        self.changes.listen(notify, self.machines)

    def close(self) -> None:
        """Let go of the line; the host and its helper run on."""
        self.changes.close()
        self._connections.close()
        self._hang_up()


class FarChanges:
    """What changes on a host, for as long as anybody listens."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._listeners: list[Notify] = []
        self.followed = threading.Event()
        """Set once the first line that brings changes stands."""
        self._closed = threading.Event()
        self._channel: Channel | None = None
        self._lock = threading.Lock()

    def listen(self, notify: Notify, machines: Machines) -> None:
        """Tell somebody from now on."""
        with self._lock:
            self._listeners.append(notify)
            if len(self._listeners) == 1:
                threading.Thread(target=self._run, args=(machines,), name="line-changes", daemon=True).start()

    def close(self) -> None:
        """Tell nobody any more."""
        self._closed.set()
        with self._lock:
            if self._channel is not None:
                self._channel.interrupt()

    def _run(self, machines: Machines) -> None:
        while not self._closed.is_set():
            try:
                channel = self._connections.take()
            except HostUnreachable:
                pass
            else:
                self._follow(channel, machines)
            self._closed.wait(REST_SECONDS)

    def _follow(self, channel: Channel, machines: Machines) -> None:
        """Tell what changes until the line breaks."""
        with self._lock:
            self._channel = channel
        verb = verbs()[HOST, "on_change"]
        try:
            self._connections.begin(channel, verb, verb.write_arguments({}))
            while not self._closed.is_set():
                kind, content = channel.receive()
                if kind is Kind.ANSWER:
                    self._catch_up(machines)
                elif kind is Kind.TOLD and verb.reads_told:
                    self._tell(verb.reads_told.decode(content))
                elif kind is Kind.FAILURE:
                    raise told(content)
        except (LineBroken, HypervisorError):
            pass
        finally:
            channel.close()

    def _catch_up(self, machines: Machines) -> None:
        """Tell of all machines where the line was down: what changed meanwhile nobody said."""
        if self.followed.is_set():
            for vm_id in machines.list():
                self._tell(vm_id)
        self.followed.set()

    def _tell(self, vm_id: UUID) -> None:
        for notify in tuple(self._listeners):
            notify(vm_id)
