"""The JSON of virtual machines, member for member as the contract has it, and what we add."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, field

from cumulet.catalogue import CommitmentTerm, VmPrice
from cumulet.disks.wire import Disk
from cumulet.security_groups import Rule, SecurityGroupAnswer
from cumulet.vm_record.wire import SshKeySource, VmState
from cumulet.wire import Amount, Wire


class NicRequest(Wire, kw_only=True):
    """A NIC asked for at create."""

    network_id: str = ""
    assign_public_ip: bool = False
    security_group_ids: list[str] = []


class CpuTopology(Wire, kw_only=True):
    """How vCPUs are arranged."""

    sockets: int = 0
    cores: int = 0
    threads: int = 0


class CreateVm(Wire, kw_only=True):
    """The body of CreateVM."""

    data_center_id: Annotated[str, Meta(examples=["local"])]
    machine_type: Annotated[str, Meta(examples=["standard"])]
    vm_id: Annotated[str, Meta(examples=["hello"])]
    boot_disk_image_id: Annotated[str, Meta(examples=["micro"])]
    vcpus: Annotated[int, Meta(examples=[1])]
    memory_gib: Annotated[int, Meta(examples=[1])]
    gpus: int = 0
    start_script: str = ""
    ssh_key_source: SshKeySource = SshKeySource.UNKNOWN
    custom_ssh_keys: list[str] = []
    password: str = ""
    boot_disk: Disk | None = None
    boot_disk_size_gib: int = 0
    cpu_model: str = ""
    gpu_model: str = ""
    gpu_model_id: str = ""
    nics: list[NicRequest] = []
    security_group_ids: list[str] = []
    storage_disk_ids: list[str] = []
    metadata: dict[str, str] = {}
    topology: CpuTopology | None = None
    validate_only: bool = False
    expire_time: datetime | None = None
    ttl: str = ""
    deletion_protection: bool = False
    """Ours, beyond the contract."""
    commitment_term: CommitmentTerm = CommitmentTerm.NONE
    queue: bool = False
    """Where there is no room, wait for some. Ours, beyond the contract."""
    queue_deadline: datetime | None = None
    """Until when, at most a day; without it an hour."""


class Nic(Wire, kw_only=True):
    """`VM.NIC`: a NIC on a private network that was asked for."""

    network_id: str
    external_ip_address: str
    internal_ip_address: str
    network_address: str
    security_group_ids: list[str] = []
    ipv6_address: str
    """Unique local: reachable in the project alone. Ours, beyond the contract."""


class GuestReport(Wire, kw_only=True):
    """What the guest itself says; ours, beyond the contract."""

    agent_answers: bool
    first_boot_done: bool
    start_script_status: int | None
    stage: str
    """Where its first boot is, in words; `""` when it is over or not known."""
    problems: list[str]
    """What its cloud-init complained of."""
    log: str
    """The last lines of its first boot's log; `""` in lists."""
    panic: str
    """Why its kernel panicked in this run; `""` if it did not."""


class Vm(Wire, kw_only=True):
    """`VM`. Members that no version of the contract has are named last."""

    datacenter_id: str
    machine_type: str
    region_id: str
    region_name: str
    id: str
    external_ip_address: str
    internal_ip_address: str
    public_ip_address: str
    memory: int
    cpu_model: str
    vcpus: int
    gpu_model: str
    gpu_model_id: str
    gpu_quantity: int
    boot_disk_size_gib: int
    renewable_energy: bool
    image_id: str
    public_image_id: str
    public_image_name: str
    private_image_id: str = ""
    image_name: str
    create_by: str
    nics: list[Nic] = []
    rules: list[Rule] = []
    security_group_ids: list[str] = []
    short_state: str
    boot_disk: Disk
    storage_disks: list[Disk] = []
    metadata: dict[str, str]
    state: VmState
    create_time: datetime
    expire_time: datetime | None
    price: VmPrice
    commitment_term: CommitmentTerm = CommitmentTerm.NONE
    commitment_end_time: datetime | None = None
    ssh_key_source: SshKeySource
    authorized_ssh_keys: str
    """One a line; `""` in lists."""
    security_groups: list[SecurityGroupAnswer] = []
    project_id: str
    waiting_for: str
    """What it waits for now, in words; `""` when it is settled."""
    problem: str
    """The last failure, in words; `""` when there is none."""
    queue_deadline: datetime | None = None
    """Until when it waits for room, if it has none yet, or has waited."""
    accelerator: str
    """`kvm` or `tcg`: whether its processor is real or emulated."""
    deletion_protection: bool
    """It cannot be terminated, nor does it expire, before that is lifted."""
    guest: GuestReport


class ResizeVmResponse(Wire, kw_only=True):
    """The response of ResizeVM."""

    vm: Vm


class UpdateVmMetadata(Wire, kw_only=True):
    """The body of UpdateVMMetadata."""

    metadata: Annotated[dict[str, str], Meta(examples=[{"team": "blue"}])] = {}
    merge: bool = False
    """Keep what is not named; otherwise it goes."""


class UpdateVmMetadataResponse(Wire, kw_only=True):
    """The metadata as it is now."""

    metadata: dict[str, str]


class UpdateVmExpireTime(Wire, kw_only=True):
    """The body of UpdateVMExpireTime: one of them."""

    expire_time: datetime | None = None
    ttl: Annotated[str, Meta(examples=["3600s"])] = ""


class UpdateVmExpireTimeResponse(Wire, kw_only=True):
    """When the VM will be terminated."""

    expire_time: datetime


class CommitVm(Wire, kw_only=True):
    """The body of CommitVM."""

    commitment_term: Annotated[CommitmentTerm, Meta(examples=["COMMITMENT_TERM_1_MONTH"])]


class UpdateVmDeletionProtection(Wire, kw_only=True):
    """Whether a VM is protected from deletion."""

    deletion_protection: Annotated[bool, Meta(examples=[True])]


class UpdateVmPassword(Wire, kw_only=True):
    """The body of UpdateVMPassword."""

    password: str


class UpdateVmAuthorizedSshKeys(Wire, kw_only=True):
    """The body of UpdateVMAuthorizedSSHKeys: as in CreateVM."""

    ssh_key_source: SshKeySource = SshKeySource.UNKNOWN
    custom_ssh_keys: list[str] = []


class CreateVmResponse(Wire, kw_only=True):
    """The response of CreateVM: key `vm` in lower case."""

    id: str
    vm: Vm


class GetVmResponse(Wire, kw_only=True):
    """The response of GetVM: key `VM` in upper case, and its ten prices flat."""

    vm: Vm = field(name="VM")
    vcpu_price_hr: Amount
    total_vcpu_price_hr: Amount
    memory_gib_price_hr: Amount
    total_memory_price_hr: Amount
    gpu_price_hr: Amount
    total_gpu_price_hr: Amount
    storage_gib_price_hr: Amount
    total_storage_price_hr: Amount
    ipv4_price_hr: Amount
    total_price_hr: Amount


class ListVmsResponse(Wire, kw_only=True):
    """The response of ListVMs: key `VMs`."""

    vms: list[Vm] = field(name="VMs")
    page_token: str = ""
    """What asks for the next page, if a page was asked for and there is one."""


class CountVmsResponse(Wire, kw_only=True):
    """The response of CountVMs."""

    count: int


class TimelineEntry(Wire, kw_only=True):
    """One fact of a VM's life."""

    time: datetime
    event: str
    text: str
    actor: str


class TimelineResponse(Wire, kw_only=True):
    """A VM's life, oldest first."""

    entries: list[TimelineEntry]
    page_token: str = ""


class ReachabilityResponse(Wire, kw_only=True):
    """Whether a packet would arrive, and what decides it."""

    reachable: bool
    security_group_id: str
    """The group that decides; `""` where none does."""
    rule_id: str
    """The rule that lets it pass; `""` where none does."""
    reason: str
    """The same in words."""


class ConsoleLogResponse(Wire, kw_only=True):
    """The newest of what the guest wrote to its serial console."""

    text: str


class MoveVm(Wire, kw_only=True):
    """Where an operator has a VM go."""

    project_id: str
    vm_id: str
    host_id: str = ""
    """The host's id; empty for the one that is placed best."""
    restart: bool = False
    """One that runs is shut down for it and started again; without it, it moves while it runs."""


class Move(Wire, kw_only=True):
    """A VM on its way to another host."""

    id: str
    """`PROJECT:VM`."""
    project_id: str
    vm_id: str
    from_host_id: str
    to_host_id: str


class ListMovesResponse(Wire, kw_only=True):
    """The moves that are under way."""

    moves: list[Move]
