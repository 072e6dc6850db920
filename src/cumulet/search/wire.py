"""What a search finds as JSON of the contract."""

from __future__ import annotations

from datetime import datetime

from cumulet.disks import DiskState, DiskType
from cumulet.vm_record import VmState
from cumulet.wire import Wire


class ProjectResult(Wire):
    """A project that was found."""

    id: str
    resource_count: int
    create_time: datetime


class VirtualMachineResult(Wire):
    """A VM that was found."""

    project_id: str
    id: str
    data_center_id: str
    gpu_model_id: str
    gpus: int
    vcpus: int
    memory_gib: int
    state: VmState
    create_time: datetime


class DiskResult(Wire):
    """A disk that was found."""

    project_id: str
    id: str
    data_center_id: str
    size_gib: int
    type: DiskType
    state: DiskState
    create_time: datetime


class SnapshotResult(Wire):
    """A snapshot of a disk that was found."""

    project_id: str
    disk_id: str
    id: str
    data_center_id: str
    size_gib: int
    create_time: datetime


class ImageResult(Wire):
    """A private image that was found."""

    project_id: str
    id: str
    data_center_id: str
    size_gib: int
    create_time: datetime


class NetworkResult(Wire):
    """A network that was found."""

    project_id: str
    id: str
    data_center_id: str
    ip_range: str
    gateway: str
    create_time: datetime


class SecurityGroupResult(Wire):
    """A security group that was found."""

    project_id: str
    id: str
    data_center_id: str
    description: str


class Result(Wire, omit_defaults=True):
    """One thing that was found: `resourceType` names the member that it is in."""

    resource_type: str
    resource_name: str
    """Its path in the API, without the version."""
    score: float
    """1 for the very name that was asked for, less the longer a name is that has it in it."""
    project: ProjectResult | None = None
    virtual_machine: VirtualMachineResult | None = None
    disk: DiskResult | None = None
    snapshot: SnapshotResult | None = None
    image: ImageResult | None = None
    network: NetworkResult | None = None
    security_group: SecurityGroupResult | None = None


class SearchResourcesResponse(Wire):
    """What was found, the nearest first."""

    results: list[Result]
