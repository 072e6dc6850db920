"""What things cost an hour. Exact decimals throughout: the items of a bill add up to its total, to the last digit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from cumulet.catalogue.model import DataCenter, MachineType
from cumulet.catalogue.wire import CommitmentTerm, VmPrice
from cumulet.wire import Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Prices per hour and unit: what a VM keeps of the catalogue it was made by."""

    vcpu: Decimal
    memory_gib: Decimal
    gpu: Decimal
    ipv4: Decimal


class PricedDisk(NamedTuple):
    """A disk of a VM, with what a GiB of it costs an hour."""

    gib: int
    gib_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The itemised price of one VM per hour."""

    rates: Rates
    storage_gib: Decimal
    """Of the boot disk."""
    total_vcpu: Decimal
    total_memory: Decimal
    total_gpu: Decimal
    total_storage: Decimal
    total_ipv4: Decimal
    """For all external addresses of the VM together; 0 without one."""

    @property
    def total(self) -> Decimal:
        """The sum of the items."""
        return self.total_vcpu + self.total_memory + self.total_gpu + self.total_storage + self.total_ipv4


def rates_of(machine_type: MachineType, data_center: DataCenter, term: CommitmentTerm) -> Rates:
    """Take the commitment's discount off what computes; a term without a discount costs the same as none."""
    discount = machine_type.commitment_discount_percent.get(term.months, 0)
    share = Decimal(100 - discount) / 100
    return Rates(
        vcpu=machine_type.vcpu_price_hr * share,
        memory_gib=machine_type.memory_gib_price_hr * share,
        gpu=machine_type.gpu_price_hr * share,
        ipv4=data_center.ipv4_price_hr,
    )


def price_vm(
    rates: Rates, *, vcpus: int, memory_gib: int, gpus: int, disks: Sequence[PricedDisk], ipv4_addresses: int
) -> Price:
    """Price a VM of this shape; the boot disk is the first of its disks."""
    return Price(
        rates=rates,
        storage_gib=disks[0].gib_price,
        total_vcpu=rates.vcpu * vcpus,
        total_memory=rates.memory_gib * memory_gib,
        total_gpu=rates.gpu * gpus,
        total_storage=sum((disk.gib * disk.gib_price for disk in disks), start=Decimal(0)),
        total_ipv4=rates.ipv4 * ipv4_addresses,
    )


def vm_price_view(price: Price) -> VmPrice:
    """Write a price as the contract's VMPrice."""
    return VmPrice(
        vcpu_price_hr=Amount.of(price.rates.vcpu),
        total_vcpu_price_hr=Amount.of(price.total_vcpu),
        memory_gib_price_hr=Amount.of(price.rates.memory_gib),
        total_memory_price_hr=Amount.of(price.total_memory),
        gpu_price_hr=Amount.of(price.rates.gpu),
        total_gpu_price_hr=Amount.of(price.total_gpu),
        storage_gib_price_hr=Amount.of(price.storage_gib),
        total_storage_price_hr=Amount.of(price.total_storage),
        ipv4_address_price_hr=Amount.of(price.total_ipv4),
        total_price_hr=Amount.of(price.total),
    )
