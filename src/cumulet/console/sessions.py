"""From a ticket to an open console, and after its end to the reason: what is true is looked up, not remembered."""

from __future__ import annotations

import enum
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from cumulet.console.close_reasons import CloseReason, Ended
from cumulet.console.tickets import GOOD_FOR, Ticket, find_good
from cumulet.db import UNREACHABLE, Database
from cumulet.errors import Forbidden, NotFound, Unauthenticated
from cumulet.hypervisor import (
    Domain,
    HostUnreachable,
    Hypervisor,
    HypervisorError,
    MachineOff,
    OffReason,
    Power,
)
from cumulet.limits import Limits
from cumulet.operation import Access
from cumulet.projects import find_caller, permit
from cumulet.resource import Wanted
from cumulet.vm_record import Verb, Vm, VmState, accepts

HELD: Final = frozenset({VmState.FAILED, VmState.SUSPENDED})
"""States in which something keeps a VM from running."""
CHECK_SECONDS: Final = 5.0
"""How long somebody who lost their right may look on."""


class Kind(enum.Enum):
    """The two consoles that a machine has."""

    SCREEN = "screen"
    """Picture, keyboard and mouse; RFB, as VNC speaks it."""
    SERIAL = "serial"
    """A terminal on the first serial port."""


@dataclass(frozen=True, slots=True)
class ConsoleRequest:
    """Which console somebody asks for."""

    kind: Kind
    project_id: str
    vm_name: str
    ticket: str


@dataclass(frozen=True, slots=True)
class Console:
    """An open console."""

    request: ConsoleRequest
    vm_id: UUID
    user_id: UUID
    host: Hypervisor
    started: int
    """The run of the machine that it belongs to."""
    line: socket.socket
    """To the machine."""


class OpenOnes:
    """How many consoles are open on this server, of each VM and of each user."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[UUID] = Counter()

    def enter(self, vm_id: UUID, user_id: UUID, limits: Limits) -> None:
        """Count one more; Ended when there are too many."""
        with self._lock:
            if self._open[vm_id] >= limits.consoles_per_vm or self._open[user_id] >= limits.consoles_per_user:
                raise Ended(CloseReason.TOO_MANY)
            self._open.update((vm_id, user_id))

    def leave(self, vm_id: UUID, user_id: UUID) -> None:
        """Count one less."""
        with self._lock:
            self._open.subtract((vm_id, user_id))
            self._open = +self._open


@dataclass(frozen=True, slots=True)
class Consoles:
    """Opens consoles. All methods block: call them in a thread."""

    database: Database
    hosts: Mapping[UUID, Hypervisor]
    limits: Limits
    clock: Callable[[], datetime]
    open_ones: OpenOnes = field(default_factory=OpenOnes)

    def open(self, request: ConsoleRequest) -> Console:
        """Open a console; Ended says why not."""
        with self.database.reading() as db:
            vm, ticket = self._admit(db, request)
        if not accepts(Verb.CONNECT, vm.state):
            raise Ended(why_off(vm, None))
        if vm.host_id not in self.hosts:
            raise Ended(CloseReason.HOST_AWAY)
        with ExitStack() as undo:
            self.open_ones.enter(vm.id, ticket.user_id, self.limits)
            undo.callback(self.open_ones.leave, vm.id, ticket.user_id)
            started, line = reach(self.hosts[vm.host_id], vm, request.kind)
            undo.pop_all()
        return Console(request, vm.id, ticket.user_id, self.hosts[vm.host_id], started, line)

    def close(self, console: Console) -> None:
        """Make room for another."""
        console.line.close()
        self.open_ones.leave(console.vm_id, console.user_id)

    def renew(self, request: ConsoleRequest) -> None:
        """Keep the ticket of an open console good; Ended when its holder has lost their right to it.

        A database that does not answer now is asked again the next time.
        """
        try:
            with self.database.reading() as db:
                _, ticket = self._admit(db, request)
            if ticket.expires_at - self.clock() < GOOD_FOR / 2:
                later = update(Ticket).where(Ticket.digest == ticket.digest)
                with self.database.writing() as db:
                    db.execute(later.values(expires_at=self.clock() + GOOD_FOR))
        except UNREACHABLE:
            return

    def why_ended(self, console: Console) -> CloseReason:
        """Say why a machine let go of an open console.

        The row is read first: a restart that it does not tell of any more is over, and then the machine tells of it.
        """
        with self.database.reading() as db:
            vm = db.get(Vm, console.vm_id)
        try:
            domain = console.host.machines.get(console.vm_id)
        except HypervisorError as problem:
            return end_of(problem)
        if domain is None or domain.power is Power.OFF:
            return why_off(vm, domain)
        if domain.started != console.started:
            return CloseReason.STARTS
        return CloseReason.TAKEN_OVER if console.request.kind is Kind.SERIAL else CloseReason.NO_CONSOLE

    def _admit(self, db: Session, request: ConsoleRequest) -> tuple[Vm, Ticket]:
        """Find the VM that the ticket is for, if it is the one that is asked for and its holder still may."""
        ticket = find_good(db, request.ticket, now=self.clock())
        if ticket is None:
            raise Ended(CloseReason.BAD_TICKET)
        vm = db.get(Vm, ticket.vm_id)
        if vm is None or vm.wanted is Wanted.DELETED:
            raise Ended(CloseReason.GONE)
        if (vm.project_id, vm.name) != (request.project_id, request.vm_name):
            raise Ended(CloseReason.OTHER_VM)
        refuse_stranger(db, ticket, vm, now=self.clock())
        return vm, ticket


def reach(host: Hypervisor, vm: Vm, kind: Kind) -> tuple[int, socket.socket]:
    """Get through to a console of a machine that runs: in which run, and a line to it; Ended says why not."""
    try:
        domain = host.machines.get(vm.id)
        if domain is not None and domain.power is not Power.OFF:
            return domain.started, host.consoles.open_screen(
                vm.id
            ) if kind is Kind.SCREEN else host.consoles.open_serial(vm.id)
    except HypervisorError as problem:
        raise Ended(end_of(problem)) from problem
    raise Ended(why_off(vm, domain))


def refuse_stranger(db: Session, ticket: Ticket, vm: Vm, *, now: datetime) -> None:
    """Return when the ticket's holder may type into the VM; Ended when not, or not any more."""
    try:
        holder = find_caller(db, ticket.key_digest, now=now, project_id=vm.project_id)
        permit(db, holder, Access.EDITOR, changes=True)
    except Unauthenticated:
        raise Ended(CloseReason.KEY_REVOKED) from None
    except (NotFound, Forbidden):
        raise Ended(CloseReason.NOT_YOURS) from None


def why_off(vm: Vm | None, domain: Domain | None) -> CloseReason:
    """Say of a VM that does not run, or is not known to, what its viewer has to expect."""
    if vm is None or vm.wanted is Wanted.DELETED:
        return CloseReason.GONE
    if vm.state is VmState.UNKNOWN:
        return CloseReason.HOST_AWAY
    guest_left = domain is not None and domain.off_reason is OffReason.GUEST_SHUTDOWN
    if vm.wanted is Wanted.STOPPED or (guest_left and not vm.reboot_pending):
        return CloseReason.OFF
    return CloseReason.HELD if vm.state in HELD else CloseReason.STARTS


def end_of(problem: HypervisorError) -> CloseReason:
    """Say what a host's refusal means for a viewer."""
    if isinstance(problem, HostUnreachable):
        return CloseReason.HOST_AWAY
    return CloseReason.OFF if isinstance(problem, MachineOff) else CloseReason.NO_CONSOLE
