"""From a request to a plan: pure. Every rule of CreateVM's fields stands here, each with its refusal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cumulet.catalogue import (
    CommitmentTerm,
    DataCenter,
    DiskPool,
    GpuModel,
    MachineType,
    StorageClass,
    check_term,
    end_of,
)
from cumulet.disks import check_disk_gib, check_disk_id, plan_pool
from cumulet.errors import Invalid, NotFound
from cumulet.hosts import GpuRoom, Requirements
from cumulet.hypervisor.user_data import parts_of, script_in
from cumulet.ids import check_id
from cumulet.images import Image
from cumulet.projects import check_public_key
from cumulet.vm_record.model import MOST_LABELS
from cumulet.vms.wire import CpuTopology, CreateVm
from cumulet.wire import utc

MOST_VM_ID: Final = 70
"""SkyPilot's ids are up to 67 long, beyond the 63 of the other clients."""
MOST_SCRIPT: Final = 64 * 1024
MOST_LABEL_BYTES: Final = 16 * 1024
LONGEST_LABEL: Final = 255
LONGEST_LABEL_VALUE: Final = 4096
MOST_KEYS: Final = 100
MOST_KEY_BYTES: Final = 64 * 1024
"""Of all keys of one VM: six hundred of the usual kind."""
LONGEST_DNS_LABEL: Final = 63
USUAL_WAIT: Final = timedelta(hours=1)
LONGEST_WAIT: Final = timedelta(days=1)
LONGEST_TTL: Final = timedelta(days=3650)
LONGEST_LIFE: Final = timedelta(days=36500)
PASSWORD_RULE: Final = (
    "6 to 64 characters with an upper-case letter, a lower-case letter, a digit and a symbol"  # noqa: S105
)


@dataclass(frozen=True, slots=True)
class VmPlan:
    """What a valid request comes to."""

    required: Requirements
    boot_disk_name: str
    boot_disk_gib: int
    storage_class: StorageClass
    pool: DiskPool
    topology: CpuTopology
    expire_time: datetime | None
    commitment_end: datetime | None
    ssh_keys: tuple[str, ...]


def plan_vm(
    data: CreateVm,
    machine_type: MachineType,
    image: Image,
    *,
    data_center: DataCenter,
    gpu_models: Sequence[GpuModel] = (),
    keys: Sequence[str],
    now: datetime,
) -> VmPlan:
    """Check every field and work out what the VM needs; Invalid and Unimplemented name the field."""
    check_id("vmId", data.vm_id, most=MOST_VM_ID)
    check_size(machine_type, vcpus=data.vcpus, memory_gib=data.memory_gib)
    check_gpus(machine_type, gpus=data.gpus, vcpus=data.vcpus)
    check_selectors(data, machine_type, gpu_models)
    check_protection(data)
    check_queue(data, now=now)
    check_labels(data.metadata)
    check_script(data.start_script, image)
    check_password(data.password)
    disk_gib = plan_boot_disk(data, image)
    boot_disk_name = (data.boot_disk.id if data.boot_disk else "") or f"{data.vm_id}-boot"
    check_disk_id("bootDisk.id", boot_disk_name)
    requested = data.boot_disk.storage_class if data.boot_disk else StorageClass.UNKNOWN
    storage_class, pool = plan_pool("bootDisk.storageClass", requested, data_center)
    expire_time = plan_expiry(data.expire_time, data.ttl, now=now)
    return VmPlan(
        required=Requirements(
            vcpus=data.vcpus,
            memory_mib=data.memory_gib * 1024,
            disk_gib=disk_gib,
            pool=pool.id,
            gpus=data.gpus,
        ),
        boot_disk_name=boot_disk_name,
        boot_disk_gib=disk_gib,
        storage_class=storage_class,
        pool=pool,
        topology=plan_topology(data),
        expire_time=expire_time,
        commitment_end=plan_commitment(data.commitment_term, machine_type, expire_time, now=now),
        ssh_keys=plan_keys(keys, data.custom_ssh_keys),
    )


def check_size(machine_type: MachineType, *, vcpus: int, memory_gib: int) -> None:
    """Refuse vCPUs and memory out of bounds, or out of the machine type's proportions."""
    check_range("vcpus", vcpus, machine_type.min_vcpu, machine_type.max_vcpu)
    check_range("memoryGib", memory_gib, machine_type.min_memory_gib, machine_type.max_memory_gib)
    least, most = machine_type.min_vcpu_per_memory_gib, machine_type.max_vcpu_per_memory_gib
    if not least <= vcpus / memory_gib <= most:
        accepted = f"{least:g} to {most:g} vCPUs for each GiB of memory ({memory_gib} GiB requested)"
        raise Invalid.field("vcpus", vcpus, accepted)


def check_gpus(machine_type: MachineType, *, gpus: int, vcpus: int) -> None:
    """Refuse GPUs that the machine type does not have, none of one that has some, or too many or few vCPUs for each."""
    if not machine_type.gpu_model_id:
        if gpus:
            raise Invalid.field("gpus", gpus, f"0: machine type {machine_type.id!r} has none")
        return
    if gpus < 1:
        raise Invalid.field("gpus", gpus, f"at least 1, as machine type {machine_type.id!r} is for")
    least, most = machine_type.min_vcpu_per_gpu, machine_type.max_vcpu_per_gpu
    if not least <= vcpus / gpus <= most:
        accepted = f"{least:g} to {most:g} vCPUs for each GPU ({gpus} requested)"
        raise Invalid.field("vcpus", vcpus, accepted)


def check_number_of_gpus(gpus: int, rooms: Collection[GpuRoom]) -> None:
    """Refuse a number of GPUs that no host gives together, whoever holds them now."""
    sizes = sorted({size for room in rooms for size in room.sizes})
    if not sizes or gpus in sizes:
        return
    model = next(room.model for room in rooms)
    if gpus > sizes[-1]:
        raise Invalid.field("gpus", gpus, f"1 to {sizes[-1]}: no host has more {model} GPUs")
    *fewer, most = map(str, sizes)
    numbers = f"{', '.join(fewer)} or {most}" if fewer else most
    raise Invalid.field("gpus", gpus, f"{numbers}: so many {model} GPUs are joined with each other")


def check_range(field: str, value: int, least: float, most: float) -> None:
    """Refuse a number out of its bounds."""
    if not least <= value <= most:
        raise Invalid.field(field, value, f"{least:g} to {most:g}")


def check_selectors(data: CreateVm, machine_type: MachineType, gpu_models: Sequence[GpuModel]) -> None:
    """Refuse a CPU or GPU model that the machine type does not have."""
    names = {one.id: one.model_name for one in gpu_models}
    own = machine_type.gpu_model_id
    check_selector("cpuModel", data.cpu_model, machine_type, offered=machine_type.cpu_model)
    check_known("gpuModel", data.gpu_model, list(names.values()))
    check_selector("gpuModel", data.gpu_model, machine_type, offered=names.get(own, ""))
    check_known("gpuModelId", data.gpu_model_id, list(names))
    check_selector("gpuModelId", data.gpu_model_id, machine_type, offered=own)


def check_known(field: str, model: str, known: Sequence[str]) -> None:
    """Refuse a GPU model that there is not."""
    if model and model not in known:
        with Invalid.reference(field):
            raise NotFound.named("GPU model", model, known)


def check_selector(field: str, model: str, machine_type: MachineType, *, offered: str) -> None:
    """Refuse a model other than the one that a machine type has."""
    if model and model != offered:
        accepted = f"{offered!r} or none" if offered else "none"
        raise Invalid.field(field, model, f"{accepted}, as machine type {machine_type.id!r} has")


def check_labels(metadata: dict[str, str]) -> None:
    """Refuse metadata that is too much to carry."""
    if len(metadata) > MOST_LABELS:
        raise Invalid.field("metadata", f"{len(metadata)} entries", f"at most {MOST_LABELS}")
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size > MOST_LABEL_BYTES:
        accepted = f"at most {MOST_LABEL_BYTES} in all names and values together"
        raise Invalid.field("metadata", f"{size} bytes", accepted)
    for name, value in metadata.items():
        if not 0 < len(name) <= LONGEST_LABEL:
            raise Invalid.field("metadata", name[:LONGEST_LABEL], f"names of 1 to {LONGEST_LABEL} characters")
        if len(value) > LONGEST_LABEL_VALUE:
            raise Invalid.field(
                f"metadata.{name}", f"{len(value)} characters", f"at most {LONGEST_LABEL_VALUE}"
            )


def check_script(script: str, image: Image) -> None:
    """Refuse a start script that does not fit a seed, or that the image would pass over."""
    size = len(script.encode())
    if size > MOST_SCRIPT:
        raise Invalid.field("startScript", f"{size} bytes", f"at most {MOST_SCRIPT}")
    parts = parts_of(script)
    if script_in(parts) is None and not image.cloud_init:
        given = f"user data of type {', '.join(part.type for part in parts)}"
        raise Invalid.field("startScript", given, f"a shell script: image {image.id!r} has no cloud-init")


def check_password(password: str) -> None:
    """Refuse a weak password, without repeating it."""
    kinds = (r"[A-Z]", r"[a-z]", r"[0-9]", r"[^A-Za-z0-9\s]")
    fits = 6 <= len(password) <= 64 and all(re.search(kind, password) for kind in kinds)  # noqa: PLR2004 - the rule
    if password and not (fits and password.isprintable()):
        raise Invalid.field("password", "(not shown)", PASSWORD_RULE)


def plan_boot_disk(data: CreateVm, image: Image) -> int:
    """Work out the boot disk's size in GiB: what was asked in either spelling, or the image's own."""
    nested = data.boot_disk.size_gib if data.boot_disk else 0
    if nested and data.boot_disk_size_gib and nested != data.boot_disk_size_gib:
        raise Invalid.field(
            "bootDiskSizeGib", data.boot_disk_size_gib, f"the same as bootDisk.sizeGib, {nested}"
        )
    size = nested or data.boot_disk_size_gib or image.size_gib
    field = "bootDisk.sizeGib" if nested else "bootDiskSizeGib"
    check_disk_gib(field, size, least=image.size_gib)
    return size


def plan_topology(data: CreateVm) -> CpuTopology:
    """Check that the topology asked for has just the vCPUs asked for."""
    requested = data.topology or CpuTopology()
    parts = (requested.sockets, requested.cores, requested.threads)
    if parts == (0, 0, 0):
        return CpuTopology()
    whole = CpuTopology(
        sockets=requested.sockets or 1, cores=requested.cores or 1, threads=requested.threads or 1
    )
    if min(parts) < 0 or whole.sockets * whole.cores * whole.threads != data.vcpus:
        raise Invalid.field(
            "topology", " x ".join(map(str, parts)), f"a product of {data.vcpus}, the requested vcpus"
        )
    return whole


def resized_topology(parts: tuple[int, int, int], vcpus: int) -> tuple[int, int, int]:
    """Keep the sockets and threads that the owner asked for; the cores take up the difference."""
    sockets, cores, threads = parts
    if not sockets:
        return parts
    if vcpus % (sockets * threads):
        accepted = f"a multiple of {sockets * threads}, as its topology {sockets} x {cores} x {threads} needs"
        raise Invalid.field("vcpus", vcpus, accepted)
    return (sockets, vcpus // (sockets * threads), threads)


def plan_expiry(expire_time: datetime | None, ttl: str, *, now: datetime) -> datetime | None:
    """Work out when the VM is to be terminated; at most one of expireTime and ttl may say so."""
    if expire_time is not None and ttl:
        raise Invalid.field("ttl", ttl, "only one of expireTime and ttl")
    if expire_time is not None and not now < utc(expire_time) <= now + LONGEST_LIFE:
        accepted = "a time in the future, at most a hundred years from now"
        raise Invalid.field("expireTime", expire_time.isoformat(), accepted)
    if not ttl:
        return utc(expire_time) if expire_time else None
    seconds = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)s", ttl)
    if not seconds or not 0 < float(seconds[1]) <= LONGEST_TTL.total_seconds():
        raise Invalid.field("ttl", ttl, "seconds with an 's', for example 3600s, at most ten years")
    return now + timedelta(seconds=float(seconds[1]))


def plan_deadline(data: CreateVm, *, now: datetime) -> datetime:
    """Work out until when a VM waits for room; Invalid when that is too late, or over."""
    if data.queue_deadline is None:
        return now + USUAL_WAIT
    deadline = utc(data.queue_deadline)
    if not now < deadline <= now + LONGEST_WAIT:
        accepted = f"a time in the future, at most {LONGEST_WAIT.days} day from now"
        raise Invalid.field("queueDeadline", data.queue_deadline.isoformat(), accepted)
    return deadline


def check_queue(data: CreateVm, *, now: datetime) -> None:
    """Refuse what does not go with waiting for room."""
    if not data.queue and data.queue_deadline is not None:
        accepted = "none without queue"
        raise Invalid.field("queueDeadline", data.queue_deadline.isoformat(), accepted)
    if data.queue and data.commitment_term is not CommitmentTerm.NONE:
        raise Invalid.field(
            "queue", value=True, accepted="no commitmentTerm beside it: commit the VM once it runs"
        )
    plan_deadline(data, now=now)


def plan_commitment(
    term: CommitmentTerm, machine_type: MachineType, expire_time: datetime | None, *, now: datetime
) -> datetime | None:
    """Work out when the commitment ends; None for none. The VM must not be gone before."""
    if term is CommitmentTerm.NONE:
        return None
    check_term(machine_type, term)
    end = end_of(term, now)
    if expire_time is not None and expire_time < end:
        accepted = f"{CommitmentTerm.NONE.value}, or one that ends before it expires"
        raise Invalid.field("commitmentTerm", term.value, accepted)
    return end


def check_protection(data: CreateVm) -> None:
    """Refuse protection of a VM that is to end at a time, or of its boot disk alone, which goes with it."""
    if data.deletion_protection and (data.expire_time or data.ttl):
        raise Invalid.field("deletionProtection", value=True, accepted="false beside expireTime or ttl")
    if data.boot_disk and data.boot_disk.deletion_protection:
        accepted = "false: deletionProtection of the VM protects its boot disk"
        raise Invalid.field("bootDisk.deletionProtection", value=True, accepted=accepted)


def plan_keys(of_source: Sequence[str], custom: Sequence[str]) -> tuple[str, ...]:
    """Collect the keys to install: those of the source, then the custom ones; each once."""
    if len(custom) > MOST_KEYS:
        raise Invalid.field("customSshKeys", f"{len(custom)} keys", f"at most {MOST_KEYS}")
    checked = [check_public_key(key, f"customSshKeys[{index}]") for index, key in enumerate(custom)]
    keys = tuple(dict.fromkeys([*of_source, *checked]))
    size = sum(len(key.encode()) + 1 for key in keys)
    if size > MOST_KEY_BYTES:
        requested = f"{len(of_source)} keys of the source and {len(custom)} custom ones, {size} bytes"
        raise Invalid.field(
            "sshKeySource, customSshKeys", requested, f"at most {MOST_KEY_BYTES} bytes in all"
        )
    return keys


def hostname_of(name: str) -> str:
    """Make a DNS label of a VM's id; one that is too long is cut, and told apart from its like by a digest."""
    if len(name) <= LONGEST_DNS_LABEL:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_DNS_LABEL - len(digest) - 1]}-{digest}"
