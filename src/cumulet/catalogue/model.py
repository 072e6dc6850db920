"""What this cloud offers: data centers, machine types, GPU models and their prices, as one value that never changes.

An operator writes it down in one TOML (see `file`), whose tables and keys are these classes and fields. Everything
else asks this value and never the file; a new offer is a new start of the server.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, TypeAlias

from msgspec import Meta

from cumulet.catalogue.wire import StorageClass
from cumulet.errors import NotFound
from cumulet.hypervisor import CephPool, GpuFabric
from cumulet.limits import Limits, Quotas

Id: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
"""No underscore: SkyPilot cuts `<machine type>_<gpus>x…` at the first one."""
Positive: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
PciIds: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}(:[0-9a-f]{4}:[0-9a-f]{4})?$")]
"""Vendor and device, and where that does not tell models apart the subsystem's as well: `10de:2330`."""
CephName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]*$")]
"""Nothing that would mean something else where QEMU and Ceph read names."""
Ratio: TypeAlias = Annotated[float, Meta(ge=0, le=1_000_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPool:
    """Where disks of some storage classes lie on each host of a data center, and what they cost."""

    id: Id
    storage_classes: tuple[str, ...]
    """Names of StorageClass; no two pools of a data center serve the same. None: it gets no further disks."""
    path: str = ""
    """Where a file system of its own is mounted; empty in one pool, which lies with Cumulet's own data."""
    shared: bool = False
    """What is mounted there is one directory that hosts share (NFS): its room is counted once, its disks are on all of them."""
    ceph_pool: CephName = ""
    """The pool of a Ceph cluster in which it lies instead, for all hosts that are of that cluster."""
    ceph_user: Annotated[CephName, Meta(min_length=1)] = "cumulet"
    """As whom they use it, without `client.`."""
    disk_gib_price_hr: Decimal
    snapshot_gib_price_hr: Decimal


class Placement(enum.StrEnum):
    """Which of the hosts that have room gets the next VM."""

    SPREAD = "spread"
    """The one with the largest free share of memory: VMs share no more than they must."""
    PACK = "pack"
    """The one with the smallest: others stay empty, for large VMs or to be switched off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCenter:
    """A place with hosts, a range of external addresses and its own prices."""

    id: Id
    supplier_name: str = ""
    renewable_energy: bool = False
    region_id: str = ""
    region_name: str = ""
    latitude: Annotated[float, Meta(ge=-90, le=90)] = 0.0
    longitude: Annotated[float, Meta(ge=-180, le=180)] = 0.0
    external_range: IPv4Network
    """External addresses of VMs and routers; no two data centers share any."""
    external_bridge: str = ""
    """A bridge of the operator's on every host that leads to whoever knows the range; `""` for one of Cumulet's own."""
    network_range: IPv4Network
    """The range of every project's default network here: the same for all, since projects never meet."""
    resolvers: tuple[IPv4Address, ...] = ()
    """DNS servers handed to guests; none here means those of the host."""
    reachable_networks: tuple[IPv4Network, ...] = ()
    """Of the networks that the host itself is in, and of 169.254.0.0/16: those that guests reach."""
    reachable_services: tuple[str, ...] = ()
    """What guests reach of what the host itself serves, such as `8480/tcp`."""
    placement: Placement = Placement.SPREAD
    disk_pools: tuple[DiskPool, ...]
    ipv4_price_hr: Decimal
    network_price_hr: Decimal

    @property
    def external_gateway(self) -> IPv4Address:
        """Where packets leave the external range for the world: its first address, which is the host's own or a router's."""
        return self.external_range[1]

    @property
    def served_classes(self) -> dict[StorageClass, DiskPool]:
        """Which pool serves each storage class; who asks for none gets the first."""
        return {StorageClass[name]: pool for pool in self.disk_pools for name in pool.storage_classes}

    @property
    def own_pool(self) -> DiskPool:
        """The pool that lies with Cumulet's own data."""
        return next(pool for pool in self.disk_pools if not pool.path and not pool.ceph_pool)

    def find_pool(self, id: str) -> DiskPool:
        """Give the pool of that id, in which disks lie."""
        return next(pool for pool in self.disk_pools if pool.id == id)

    @property
    def pool_paths(self) -> dict[str, Path | None]:
        """Where each pool that is a directory is mounted on a host; None for the own pool."""
        return {
            pool.id: Path(pool.path) if pool.path else None for pool in self.disk_pools if not pool.ceph_pool
        }

    @property
    def ceph_pools(self) -> dict[str, CephPool]:
        """Where each pool that is none lies in Ceph."""
        return {
            pool.id: CephPool(pool.ceph_pool, pool.ceph_user) for pool in self.disk_pools if pool.ceph_pool
        }

    @property
    def shared_pools(self) -> frozenset[str]:
        """Those pools that hosts share."""
        return frozenset(pool.id for pool in self.disk_pools if pool.shared or pool.ceph_pool)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineType:
    """A kind of VM that one data center sells: which shapes it may take and what they cost an hour."""

    id: Id
    data_center_id: str
    host_labels: Mapping[str, str] = field(default_factory=dict)
    """Its VMs go to hosts with all of these labels; none: to all hosts of the data center."""
    cpu_model: str = ""
    """As shown to customers; empty shows what its hosts report, if all report the same."""
    gpu_model_id: str = ""
    """Empty: VMs of this type have no GPUs."""
    min_vcpu: Positive
    max_vcpu: Positive
    min_memory_gib: Positive
    max_memory_gib: Positive
    min_vcpu_per_memory_gib: Ratio
    max_vcpu_per_memory_gib: Ratio
    min_vcpu_per_gpu: Ratio = 0.0
    max_vcpu_per_gpu: Ratio = 0.0
    vcpus_per_core: Annotated[int, Meta(ge=1, le=64)] = 1
    """How many vCPUs a host promises for each of its cores (1: nothing is promised twice)."""
    vcpu_price_hr: Decimal
    memory_gib_price_hr: Decimal
    gpu_price_hr: Decimal = Decimal(0)
    commitment_discount_percent: Mapping[int, Annotated[int, Meta(ge=0, le=100)]] = field(
        default_factory=dict
    )
    """Months of commitment → percent off the prices of vCPU, memory and GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuModel:
    """A GPU that machine types refer to; `model_name` is what clients match on."""

    id: Id
    vendor_name: str
    model_name: str
    memory_gib: Positive
    pci_ids: tuple[PciIds, ...] = ()
    """By which hosts' cards are known as this model."""
    fabric: GpuFabric = ""
    """What joins several of them beside PCI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All that can be asked for."""

    data_centers: tuple[DataCenter, ...]
    machine_types: tuple[MachineType, ...]
    gpu_models: tuple[GpuModel, ...] = ()
    image_aliases: Mapping[str, str] = field(default_factory=dict)
    """Further ids of images: clients hard-code some."""
    limits: Limits = field(default_factory=Limits)
    quotas: Quotas = field(default_factory=Quotas)
    """Of a project."""
    webhook_networks: tuple[str, ...] = ()
    """Where webhooks may go besides the world: networks that are private, the server's own or beside it."""

    def find_data_center(self, id: str) -> DataCenter:
        """Give the data center of that id; NotFound."""
        for data_center in self.data_centers:
            if data_center.id == id:
                return data_center
        raise NotFound.named("data center", id, [one.id for one in self.data_centers])

    def find_machine_type(self, data_center_id: str, id: str) -> MachineType:
        """Give the machine type that a data center sells under that id; NotFound for either."""
        self.find_data_center(data_center_id)
        for machine_type in self.machine_types_of(data_center_id):
            if machine_type.id == id:
                return machine_type
        offered = [one.id for one in self.machine_types_of(data_center_id)]
        raise NotFound.named(f"machine type of data center {data_center_id!r} called", id, offered)

    def machine_types_of(self, data_center_id: str) -> Iterator[MachineType]:
        """Go through what one data center sells."""
        return (one for one in self.machine_types if one.data_center_id == data_center_id)

    def find_gpu_model(self, id: str) -> GpuModel:
        """Give the GPU model of that id; NotFound."""
        for gpu_model in self.gpu_models:
            if gpu_model.id == id:
                return gpu_model
        raise NotFound.named("GPU model", id, [one.id for one in self.gpu_models])

    @property
    def allowed_webhook_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The same, to compare addresses with."""
        return tuple(map(ip_network, self.webhook_networks))

    def image_id(self, id_or_alias: str) -> str:
        """Turn an alias into the image's own id; any other id stays as it is."""
        return self.image_aliases.get(id_or_alias, id_or_alias)
