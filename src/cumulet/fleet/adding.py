"""Makes machines into hosts, each in a thread of its own, for that takes minutes where packages are missing.

    ADDING: pin its SSH key ─▶ bring the helper ─▶ prepare and join the network ─▶ examine ─▶ read its facts ─▶ UP
       ▲                          │
       └──── half a minute ◀──────┘ fails: `why` says what, and it is tried again

What it is doing is the host's `why`. A server that dies meanwhile begins anew, and so does whoever adds it again: each
step looks first, so that on a machine that is ready all of it takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from cumulet.db import fetch_columns
from cumulet.doctor.calls import Level
from cumulet.errors import CumuletError, Refused
from cumulet.hosts import Host, HostState, added, change_standing, note_facts, wake_between
from cumulet.hypervisor import HostFacts
from cumulet.line.ssh import fingerprint, read_destination, scan_host_key
from cumulet.line.wire import DATA_DIR, PACKAGES
from cumulet.reconcile import Kind, Reconcile, Run, wake

ASKING: Final = "asking for its SSH key"
CONNECTING: Final = "connecting"
PREPARING: Final = "looking for what is missing"
EXAMINING: Final = "examining it"
READING: Final = "reading what it has"
FAILED: Final = "failed while "
"""What the `why` of a host begins with at which a step failed; then it is tried again."""
LOOK: Final = timedelta(seconds=0.5)
"""Between two looks at how far a host is."""
AGAIN: Final = timedelta(seconds=30)
"""After a failure."""
MOST_AT_ONCE: Final = 16
IS_NEW: Final = select(Host.id).where(Host.id == bindparam("host_id"), Host.state == HostState.ADDING)


class NewHost(Protocol):
    """A machine that is to be a host, with its doctor."""

    @property
    def doctor(self) -> Any:  # noqa: ANN401 - whose calls are those of `doctor.calls`
        """The doctor's calls, done there."""

    def facts(self) -> HostFacts:
        """Say what it has."""

    def close(self) -> None:
        """Let go of it."""


OpenNew = Callable[[str, str], NewHost]
"""Opens a machine by a URI and a data center."""
TakeIn = Callable[[Any, str, Callable[[str], None]], object]
"""Prepares a machine by its doctor, as the server calls it, and takes it into the network between hosts; tells how far it is."""


@dataclass(slots=True)
class Addition:
    """One machine on its way."""

    given: str
    """Its URI when this began."""
    data_center_id: str
    uri: str = ""
    """The same with the key that was pinned; empty until then."""
    step: str = ASKING
    work: Future[HostFacts] = field(default_factory=Future)

    def do(self, open_new: OpenNew, pin: Callable[[str], str], take_in: TakeIn) -> HostFacts:
        """Take all steps; CumuletError says which failed."""
        self.uri = pin(self.given)
        destination = read_destination(self.uri)
        self.step = f"{CONNECTING}; its SSH key is {fingerprint(destination.host_key)}"
        host = open_new(self.uri, self.data_center_id)
        try:
            host.doctor.find_resolvers()
            self.step = PREPARING
            take_in(host.doctor, destination.host, self.tell)
            self.step = EXAMINING
            self.check(host)
            self.step = READING
            return host.facts()
        finally:
            host.close()

    def tell(self, step: str) -> None:
        """Note what the doctor is doing."""
        self.step = step

    def check(self, host: NewHost) -> None:
        """Return when VMs can run there; Refused says what is broken, and its cure."""
        broken = [
            one for one in host.doctor.examine(DATA_DIR, packages=PACKAGES) if one.level is Level.BROKEN
        ]
        if broken:
            words = "; ".join(f"{one.name}: {one.text} (fix: {one.cure})" for one in broken)
            raise Refused(words, reason="HOST_NOT_FIT")


class Adder:
    """Adds hosts."""

    def __init__(self, open_new: OpenNew, pin: Callable[[str], str], take_in: TakeIn) -> None:
        """`pin` asks a machine for its SSH key and gives its URI with that."""
        self._open_new = open_new
        self._pin = pin
        self._take_in = take_in
        self._additions: dict[UUID, Addition] = {}
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="add")

    def before(self, sweep: Reconcile) -> Reconcile:
        """Add a host that is new, and sweep every other one."""

        def reconcile(run: Run) -> datetime | None:
            with run.looking() as db:
                new = db.get_one(Host, run.id) if fetch_columns(db, IS_NEW, host_id=run.id) else None
            return self._look(run, new) if new is not None else sweep(run)

        return reconcile

    def _look(self, run: Run, host: Host) -> datetime:
        """Note how far a host is."""
        addition = self._additions.get(run.id) or self._begin(run.id, host)
        if not addition.work.done():
            with run.writing() as db:
                db.get_one(Host, run.id).why = addition.step
            return run.now + LOOK
        del self._additions[run.id]
        try:
            facts = addition.work.result()
        except CumuletError as failure:
            return self._fail(run, addition, failure.for_operator)
        with run.writing() as db:
            why = stranger(db, db.get_one(Host, run.id), facts)
            if not why:
                welcome(db, run, addition, facts)
        return self._fail(run, addition, why) if why else run.now

    def _begin(self, id: UUID, host: Host) -> Addition:
        addition = self._additions[id] = Addition(host.uri, host.data_center_id)
        addition.work = self._threads.submit(addition.do, self._open_new, self._pin, self._take_in)
        return addition

    def _fail(self, run: Run, addition: Addition, why: str) -> datetime:
        """Tell what went wrong, keep the key that was pinned, and try again later."""
        with run.writing() as db:
            host = db.get_one(Host, run.id, with_for_update=True)
            host.why = f"{FAILED}{addition.step}: {why}"
            pin(host, addition)
        return run.now + AGAIN


def stranger(db: Session, host: Host, facts: HostFacts) -> str:
    """Say why a machine is not to be this host; empty when it may. No two machines have the same boot."""
    twin = db.scalar(select(Host.name).where(Host.boot_id == facts.boot_id, Host.id != host.id))
    if twin is not None:
        return f"this machine is host {twin!r} already: remove {host.name!r}"
    if facts.name != host.name:
        return f"the machine calls itself {facts.name!r}: remove {host.name!r}, and add it by that name"
    return ""


def pin(host: Host, addition: Addition) -> None:
    """Note the key that a locked host proved itself by, unless somebody said another one meanwhile."""
    if addition.uri and host.uri == addition.given:
        host.uri = addition.uri


def welcome(db: Session, run: Run, addition: Addition, facts: HostFacts) -> None:
    """Take a host into service."""
    note_facts(db, run.id, facts, now=run.now)
    host = db.get_one(Host, run.id, populate_existing=True, with_for_update=True)
    pin(host, addition)
    change_standing(db, host, added(host.standing, run.now), now=run.now)
    wake(db, Kind.SAMPLES, run.id, now=run.now)
    wake(db, Kind.EXAMINATION, run.id, now=run.now)
    wake_between(db, now=run.now)


def pin_host_key(uri: str) -> str:
    """Give the URI of a host with the key that it proves itself by, asked for unless there is one."""
    destination = read_destination(uri)
    return (destination if destination.host_key else scan_host_key(destination)).uri
