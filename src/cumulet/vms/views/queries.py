"""What is read to show VMs: one statement for each kind of row, whether one VM is meant or a thousand.

Plain columns and no objects, whose attributes cost more than all the rest of a long list; and each statement is built
once: with the values of a request it is a constant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import Row as FoundRow
from sqlalchemy import Select, SQLColumnExpression, String, and_, bindparam, case, func, literal, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from cumulet.catalogue import CommitmentTerm
from cumulet.db import Row, fetch_built, fetch_columns
from cumulet.disks import Disk, DiskRow, DiskType
from cumulet.hosts import Host
from cumulet.networks import ExternalAddress, Network, Nic, NicGroup
from cumulet.projects import Page
from cumulet.reconcile import Due, Kind
from cumulet.resource import Wanted
from cumulet.security_groups import SecurityGroup
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import SshKeySource, VmState

Columns: TypeAlias = Select[*tuple[Any, ...]]


class VmRow(NamedTuple):
    """A VM, its host, and what it waits for."""

    name: str
    project_id: str
    data_center_id: str
    machine_type: str
    create_time: datetime
    created_by: str
    expire_time: datetime | None
    deletion_protection: bool
    commitment_term: CommitmentTerm
    commitment_end_time: datetime | None
    state: VmState
    vcpus: int
    memory_gib: int
    gpus: int
    gpu_model_id: str
    image_id: str
    image_name: str
    labels: dict[str, str]
    ssh_key_source: SshKeySource
    ssh_keys: str
    vcpu_price: Decimal
    memory_price: Decimal
    gpu_price: Decimal
    ipv4_price: Decimal
    agent_answers: bool
    first_boot_done: bool
    start_script_status: int | None
    boot_stage: str
    boot_problems: str
    boot_log: str
    panic: str
    """Of this run."""
    cpu_model: str
    accelerator: str
    waiting_for: str
    problem: str
    waits_until: datetime | None


WAITS: Final = and_(Vm.waits_until.is_not(None), Vm.state == VmState.PENDING)
GIVEN_UP: Final = and_(Vm.waits_until.is_not(None), Vm.state == VmState.FAILED)


class NicRow(NamedTuple):
    """A NIC of a VM, and its network."""

    vm_name: str
    id: UUID
    mac: str
    address: str
    external_address: str
    implicit: bool
    network_id: UUID
    network_name: str
    range: str


NOTHING: Final = literal("")
"""In place of what is long: nobody reads guests' logs and keys in a list."""


def columns(names: Iterable[str], table: type[Row], **others: SQLColumnExpression[Any]) -> Columns:
    """Select what is named, in that order: a table's columns, and those of `others`."""
    return select(*(others[name] if name in others else getattr(table, name) for name in names))


def vms_with(*, in_full: bool) -> Columns:
    """Select VMs, with the log of their first boot and the SSH keys that they let in or without."""
    vms = columns(
        VmRow._fields,
        Vm,
        boot_log=Vm.boot_log if in_full else NOTHING,
        ssh_keys=Vm.ssh_keys if in_full else NOTHING,
        agent_answers=Vm.agent_at.is_not(None),
        first_boot_done=Vm.first_boot_at.is_not(None),
        panic=case((Vm.panic_at.is_not(None), Vm.panic), else_=""),
        cpu_model=Host.cpu_model,
        accelerator=Host.accelerator,
        waiting_for=case((WAITS, Vm.waits_for), else_=func.coalesce(Due.why, "")),
        problem=case((GIVEN_UP, Vm.waits_for), else_=func.coalesce(Due.error, "")),
    )
    return vms.join(Host, Host.id == Vm.host_id).outerjoin(Due, and_(Due.kind == Kind.VM, Due.id == Vm.id))


DISKS: Final = columns(DiskRow._fields, Disk, vm_name=Vm.name).join(Vm, Vm.id == Disk.vm_id)
NICS: Final = (
    columns(
        NicRow._fields,
        Nic,
        vm_name=Vm.name,
        external_address=func.coalesce(ExternalAddress.address, ""),
        network_name=Network.name,
        range=Network.range,
    )
    .join(Vm, Vm.id == Nic.vm_id)
    .join(Network, Network.id == Nic.network_id)
    .outerjoin(ExternalAddress, ExternalAddress.holder_id == Nic.id)
)
GROUPS: Final[Columns] = (
    select(NicGroup.nic_id, NicGroup.group_id)
    .join(Nic, Nic.id == NicGroup.nic_id)
    .join(Vm, Vm.id == Nic.vm_id)
)


LISTED_GROUPS: Final[Columns] = GROUPS.join(SecurityGroup, SecurityGroup.id == NicGroup.group_id).add_columns(
    *SecurityGroup.__table__.columns
)


class row_text(GenericFunction[str]):  # noqa: N801 - a function's name in SQL
    """A row as one text, the same for equal rows alone: to read it costs half of what its values do."""

    type = String()
    inherit_cache = True


@compiles(row_text, "sqlite")
def _as_json(element: row_text, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    return f"json_array{compiler.function_argspec(element, **options)}"


@compiles(row_text, "postgresql")
def _as_row(element: row_text, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    return f"CAST(ROW{compiler.function_argspec(element, **options)} AS TEXT)"


def texts_of(rows: Columns) -> Columns:
    """Select the same rows, in whatever order, as texts beside the names of their VMs."""
    text = row_text(*rows.selected_columns)
    return rows.with_only_columns(Vm.name, text, maintain_column_froms=True)


@dataclass(frozen=True, slots=True)
class Selection:
    """Some VMs of one project, as the statements that read them: their values are named by `bindparam`s."""

    vms: Columns
    disks: Columns
    nics: Columns
    groups: Columns
    texts: tuple[Columns, ...]
    """All that the answers about them are made of; the VMs first, by name."""
    fetch: Callable[..., Sequence[FoundRow[*tuple[Any, ...]]]] = fetch_columns
    """How they are read: all are constants, or were built for one request."""

    def where(self, *which: SQLColumnExpression[bool]) -> Selection:
        """Select those among them for which all this is true as well."""
        return Selection(
            vms=self.vms.where(*which),
            disks=self.disks.where(*which),
            nics=self.nics.where(*which),
            groups=self.groups.where(*which),
            texts=tuple(rows.where(*which) for rows in self.texts),
            fetch=fetch_built,
        )

    def part(self, db: Session, page: Page, **values: str) -> tuple[Selection, str]:
        """Leave only those of one page, and give the token of the next."""
        if not page.size:
            return self, ""
        beyond = page.following(Vm.name)
        names = self.vms.with_only_columns(Vm.name).where(*beyond).limit(page.size + 1)
        found = [name for (name,) in fetch_built(db, names, **values)]
        chosen, token = page.cut(found, lambda name: (name,))
        return self.where(*beyond, *([Vm.name <= chosen[-1]] if token else [])), token

    def read_texts(self, db: Session, **values: str) -> dict[str, list[str]]:
        """Give by the names of the VMs, in their order, what the answers about them are made of."""
        found: dict[str, list[str]] = defaultdict(list)
        for rows in self.texts:
            for name, text in self.fetch(db, rows, **values):
                found[name].append(text)
        return found

    def read_vms(self, db: Session, **values: str) -> list[VmRow]:
        """Give the VMs by name."""
        return [VmRow._make(row) for row in self.fetch(db, self.vms, **values)]

    def read_disks(self, db: Session, **values: str) -> list[DiskRow]:
        """Give the disks that they have: boot disks first, the others by name."""
        return [DiskRow._make(row) for row in self.fetch(db, self.disks, **values)]

    def read_nics(self, db: Session, **values: str) -> list[NicRow]:
        """Give their NICs, each VM's in its order."""
        return [NicRow._make(row) for row in self.fetch(db, self.nics, **values)]

    def read_groups(self, db: Session, **values: str) -> list[tuple[UUID, UUID]]:
        """Give pairs of a NIC and a security group that is attached to it."""
        return [(nic_id, group_id) for nic_id, group_id in self.fetch(db, self.groups, **values)]


def selection(*which: SQLColumnExpression[bool], in_full: bool = False) -> Selection:
    """Select the VMs for which all this is true."""
    vms = vms_with(in_full=in_full).where(*which)
    return Selection(
        vms=vms.order_by(Vm.name),
        disks=DISKS.where(*which).order_by(Disk.type != DiskType.BOOT, Disk.name),
        nics=NICS.where(*which).order_by(Nic.position),
        groups=GROUPS.where(*which),
        texts=(
            texts_of(vms).order_by(Vm.name),
            *(texts_of(rows).where(*which) for rows in (DISKS, NICS, LISTED_GROUPS)),
        ),
    )


OF_PROJECT: Final = Vm.project_id == bindparam("project_id")
STAYS: Final = Vm.wanted != Wanted.DELETED
"""Nobody asked for its end: clients take what is listed for what is there, and break on states of going."""
ONE: Final = selection(OF_PROJECT, Vm.name == bindparam("name"), in_full=True)
LISTED: Final = selection(OF_PROJECT, Vm.name == bindparam("name"))
"""One as lists show it."""
ALL: Final = selection(OF_PROJECT, STAYS)
ON_NETWORK: Final = selection(
    OF_PROJECT,
    STAYS,
    Vm.id.in_(
        select(Nic.vm_id)
        .join(Network, Network.id == Nic.network_id)
        .where(Network.project_id == bindparam("project_id"), Network.name == bindparam("network"))
    ),
)
