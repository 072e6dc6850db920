"""What there is to be had, and for how much: data centers, machine types and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cumulet.catalogue import VmMachineType
from cumulet.catalogue.wire import CommitmentTerm, MachineTypePrice, StorageClass
from cumulet.images.operations import list_public_vm_images
from cumulet.vms.offers import list_vm_data_centers, list_vm_machine_types2
from cumulet.web.pages.images import hosts_with_copies
from cumulet.web.site import page
from cumulet.web.visit import Shown, Visit

CLASSES: Final = {StorageClass.LOCAL: "on the host", StorageClass.NETWORK: "shared"}


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine type, with what it costs by the hour and for those who commit themselves."""

    type: VmMachineType
    usual: MachineTypePrice
    committed: Sequence[MachineTypePrice]


@page("/catalogue")
def catalogue_page(visit: Visit) -> Shown:
    """Show all of it."""
    types = visit.ask(list_vm_machine_types2).machine_types
    return visit.show(
        "catalogue.html",
        data_centers=visit.ask(list_vm_data_centers).data_centers,
        offers=[offer_of(one) for one in types],
        images=visit.ask(list_public_vm_images).images,
        copies=hosts_with_copies(visit),
        classes=CLASSES,
    )


def offer_of(type: VmMachineType) -> Offer:
    """Tell the usual price from those of commitments."""
    usual = MachineTypePrice(
        vcpu_price_hr=type.vcpu_price_hr,
        memory_gib_price_hr=type.memory_gib_price_hr,
        gpu_price_hr=type.gpu_price_hr,
        commitment_term=CommitmentTerm.NONE,
    )
    committed = [one for one in type.prices if one.commitment_term.months]
    return Offer(type, usual, sorted(committed, key=lambda one: one.commitment_term.months))
