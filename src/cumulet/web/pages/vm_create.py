"""Creating a VM on one page: what it will be, what that costs, whether there is room, and the same for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from cumulet.catalogue import VmMachineType
from cumulet.catalogue.wire import VmDataCenter
from cumulet.errors import CumuletError
from cumulet.images.operations import list_public_vm_images
from cumulet.networks.operations import list_networks
from cumulet.private_images.operations import list_private_vm_images
from cumulet.projects.key_operations import list_ssh_keys
from cumulet.projects.wire import SshKeyAnswer
from cumulet.security_groups.operations import list_security_groups
from cumulet.vms.offers import list_vm_data_centers, list_vm_machine_types2
from cumulet.vms.operations import create_vm
from cumulet.vms.wire import CreateVm
from cumulet.web.pages.vm_changes import read_labels, read_span
from cumulet.web.same import Command, same_for_programs
from cumulet.web.site import form, page
from cumulet.web.visit import Gone, Shown, Visit
from cumulet.wire import decode

NEW: Final = "/p/{project_id:str}/new-vm"
HOURS_A_MONTH: Final = 730
ALL: Final = 1000
"""Of each list, as many as one page of it can have."""
SIZES: Final = (("Small", 1, 1, 10), ("Medium", 2, 4, 20), ("Large", 4, 16, 80), ("Huge", 16, 64, 200))
"""A name, vCPUs, GiB of memory, GiB of disk."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the form offers."""

    images: Sequence[Any]
    own_images: Sequence[Any]
    data_centers: Sequence[VmDataCenter]
    machine_types: Sequence[VmMachineType]
    networks: Sequence[Any]
    groups: Sequence[Any]
    ssh_keys: Sequence[SshKeyAnswer]

    def machine_type(self, visit: Visit) -> VmMachineType:
        """Give the one that the form means: that which was chosen, or the first."""
        asked = visit.given("machineType")
        return next(
            (one for one in self.machine_types if f"{one.data_center_id}/{one.machine_type}" == asked),
            self.machine_types[0],
        )

    def image(self, visit: Visit) -> str:
        """Give the image that the form means, likewise; empty where there is none."""
        first = next((one.id for one in (*self.images, *self.own_images)), "")
        return visit.given("bootDiskImageId", first)


@dataclass(frozen=True, slots=True)
class Quote:
    """What the VM costs an hour, and whether it can be had."""

    items: Sequence[tuple[str, Decimal]]
    refusal: str
    """Why it cannot be had; empty when it can."""
    command: Sequence[Command]

    @property
    def total(self) -> Decimal:
        """What it costs an hour."""
        return sum((price for _, price in self.items), Decimal())

    @property
    def monthly(self) -> Decimal:
        """What it costs a month."""
        return self.total * HOURS_A_MONTH


@page(NEW)
def create_page(visit: Visit) -> Shown:
    """Show the form."""
    choices = offered(visit)
    machine_type = choices.machine_type(visit)
    return visit.show(
        "vms/create.html",
        choices=choices,
        machine_type=machine_type,
        image=choices.image(visit),
        sizes=SIZES,
        quote=quoted(visit, choices),
    )


@form(f"{NEW}/quote", on=create_page)
def quote(visit: Visit) -> Shown:
    """Say anew what it costs and whether it can be had, as the form is now."""
    return visit.show("vms/quote.html", quote=quoted(visit, offered(visit)))


@form(NEW, on=create_page)
def create(visit: Visit) -> Gone:
    """Create it."""
    made = visit.ask(create_vm, project_id=visit.project_id, data=request_of(visit, offered(visit)))
    return Gone(visit.url("vms", made.id))


def offered(visit: Visit) -> Choices:
    """Read what there is to choose from."""
    project_id = visit.project_id
    try:
        ssh_keys: Sequence[SshKeyAnswer] = visit.ask(list_ssh_keys, page_size=ALL).ssh_keys
    except CumuletError:  # a key for this project alone knows of none
        ssh_keys = ()
    return Choices(
        images=visit.ask(list_public_vm_images).images,
        own_images=visit.ask(list_private_vm_images, project_id=project_id, page_size=ALL).images,
        data_centers=visit.ask(list_vm_data_centers).data_centers,
        machine_types=visit.ask(list_vm_machine_types2).machine_types,
        networks=visit.ask(list_networks, project_id=project_id, page_size=ALL).networks,
        groups=visit.ask(list_security_groups, project_id=project_id, page_size=ALL).security_groups,
        ssh_keys=ssh_keys,
    )


def request_of(visit: Visit, choices: Choices) -> CreateVm:
    """Read the form; Invalid."""
    return decode(CreateVm, written(visit, choices))


def written(visit: Visit, choices: Choices) -> dict[str, Any]:
    """Write the form as the API has it; what was left alone is not there."""
    machine_type, gpus = choices.machine_type(visit), visit.given("gpus", "0")
    network, groups = visit.given("network"), visit.all_given("securityGroupIds")
    nic = {"networkId": network, "assignPublicIp": visit.given("public") == "yes", "securityGroupIds": groups}
    wanted = {
        "vmId": visit.given("vmId"),
        "dataCenterId": machine_type.data_center_id,
        "machineType": machine_type.machine_type,
        "bootDiskImageId": choices.image(visit),
        "vcpus": visit.given("vcpus", str(SIZES[0][1])),
        "memoryGib": visit.given("memoryGib", str(SIZES[0][2])),
        "bootDiskSizeGib": visit.given("bootDiskSizeGib", str(SIZES[0][3])),
        "gpus": gpus if machine_type.gpu_model_id else "",
        "sshKeySource": visit.given("sshKeySource", "SSH_KEY_SOURCE_USER"),
        "customSshKeys": [line for line in visit.given("customSshKeys").splitlines() if line.strip()],
        "password": visit.given("password"),
        "startScript": visit.given("startScript"),
        "metadata": read_labels(visit.given("metadata")),
        "ttl": read_span(visit.given("ttl")),
        "deletionProtection": visit.given("deletionProtection") == "yes",
        **({"nics": [nic]} if network else {"securityGroupIds": groups}),
    }
    return {name: value for name, value in wanted.items() if value}


def quoted(visit: Visit, choices: Choices) -> Quote:
    """Price the VM of the form, and try whether it could be created."""
    raw = written(visit, choices)
    trial = raw | {"vmId": raw.get("vmId") or f"try-{uuid4().hex[:8]}", "validateOnly": True}
    refusal = ""
    try:
        visit.try_out(create_vm, project_id=visit.project_id, data=decode(CreateVm, trial))
    except CumuletError as refused:
        refusal = refused.message
    return Quote(priced(raw, choices.machine_type(visit), choices), refusal, same_for_programs(visit, raw))


def priced(
    raw: Mapping[str, Any], machine_type: VmMachineType, choices: Choices
) -> Sequence[tuple[str, Decimal]]:
    """Say what each part costs an hour; a number that is none costs nothing."""
    data_center = next(one for one in choices.data_centers if one.id == machine_type.data_center_id)
    disk_prices = [Decimal(one.disk_gib_price_hr.value) for one in data_center.disk_pool_pricing]
    has_address = raw["nics"][0]["assignPublicIp"] if "nics" in raw else True
    parts = (
        ("vCPU", number(raw, "vcpus"), Decimal(machine_type.vcpu_price_hr.value)),
        ("GiB memory", number(raw, "memoryGib"), Decimal(machine_type.memory_gib_price_hr.value)),
        (machine_type.gpu_model or "GPUs", number(raw, "gpus"), Decimal(machine_type.gpu_price_hr.value)),
        ("GiB disk", number(raw, "bootDiskSizeGib"), disk_prices[0] if disk_prices else Decimal()),
        ("external address", int(has_address), Decimal(machine_type.ipv4_price_hr.value)),
    )
    return [(f"{count} {what}", count * price) for what, count, price in parts if count]


def number(raw: Mapping[str, Any], name: str) -> int:
    """Read a number of the form, as far as it is one."""
    text = str(raw.get(name, ""))
    return int(text) if text.isascii() and text.isdecimal() else 0
