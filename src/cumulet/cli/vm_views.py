"""How virtual machines look to people: in a list, alone, and through their time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from cumulet.cli.client import Json
from cumulet.cli.follow import seconds_between
from cumulet.cli.output import Columns, local_time, money, span
from cumulet.plurals import plural


def guest(vm: Json) -> str:
    """Tell how far the guest is, as it says itself."""
    report = vm["guest"]
    script = report["startScriptStatus"]
    facts = (
        (report["agentAnswers"], "agent answers"),
        (report["stage"] != "", report["stage"]),
        (report["firstBootDone"], "first boot done"),
        (script is not None, f"start script ended with {script}"),
    )
    return ", ".join(words for said, words in facts if said)


def nic(nic: Json) -> str:
    """Tell a NIC in a few words."""
    addresses = filter(None, (nic["internalIpAddress"], nic["externalIpAddress"]))
    return f"{nic['networkId']} ({' = '.join(addresses)})"


def troubles(vm: Json) -> str:
    """Tell what went wrong in the guest."""
    report = vm["guest"]
    panic = [f"kernel panic: {report['panic']}"] if report["panic"] else []
    return "; ".join([*panic, *report["problems"]])


def labels(vm: Json) -> str:
    """Give what its owner wrote on it."""
    return " ".join(f"{key}={value}" for key, value in vm["metadata"].items())


def boot_log(vm: Json) -> str:
    """Give the last line of the first boot's log, while it boots or when its start script failed."""
    report = vm["guest"]
    matters = report["startScriptStatus"] or not report["firstBootDone"]
    lines = report["log"].splitlines() if matters else []
    return lines[-1] if lines else ""


def gpus(vm: Json) -> str:
    """Tell how many GPUs it has, and which; `""` for none."""
    return f"{vm['gpuQuantity']} {vm['gpuModel']}" if vm["gpuQuantity"] else ""


def size(vm: Json) -> str:
    """Tell what it has."""
    parts = f"{plural(vm['vcpus'], 'vCPU')}, {vm['memory']} GiB memory, {vm['bootDiskSizeGib']} GiB disk"
    return f"{parts}, GPUs: {gpus(vm)}" if gpus(vm) else parts


def age(created: str) -> str:
    """Say how long ago an instant of the API was."""
    return span((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds())


def cost(vm: Json) -> str:
    """Tell what it has cost so far, where that was asked for."""
    return f", {money(vm['cost'])} so far" if "cost" in vm else ""


def commitment(vm: Json) -> str:
    """Tell until when it is committed."""
    end = local_time(vm["commitmentEndTime"])
    return f"until {end}" if end else ""


COLUMNS: Final[Columns] = {
    "NAME": lambda vm: vm["id"],
    "STATE": lambda vm: vm["state"],
    "IMAGE": lambda vm: vm["imageId"],
    "VCPUS": lambda vm: str(vm["vcpus"]),
    "MEMORY": lambda vm: f"{vm['memory']} GiB",
    "DISK": lambda vm: f"{vm['bootDiskSizeGib']} GiB",
    "EXTERNAL": lambda vm: vm["externalIpAddress"],
    "AGE": lambda vm: age(vm["createTime"]),
    "NOW": lambda vm: vm["problem"] or vm["waitingFor"],
}
MORE: Final[Columns] = {
    "GPUS": gpus,
    "INTERNAL": lambda vm: vm["internalIpAddress"],
    "DATA CENTER": lambda vm: vm["datacenterId"],
    "MACHINE TYPE": lambda vm: vm["machineType"],
    "PRICE/HOUR": lambda vm: vm["price"]["totalPriceHr"]["value"],
    "LABELS": labels,
    "CREATED": lambda vm: local_time(vm["createTime"]),
}
FACTS: Final[Columns] = {
    "name": lambda vm: vm["id"],
    "state": lambda vm: vm["state"],
    "waits for": lambda vm: vm["waitingFor"],
    "problem": lambda vm: vm["problem"],
    "guest": guest,
    "trouble": troubles,
    "first boot": boot_log,
    "external address": lambda vm: vm["externalIpAddress"],
    "internal address": lambda vm: vm["internalIpAddress"],
    "networks": lambda vm: ", ".join(map(nic, vm["nics"])),
    "security groups": lambda vm: ", ".join(vm["securityGroupIds"]),
    "image": lambda vm: vm["imageId"],
    "size": size,
    "storage disks": lambda vm: ", ".join(
        f"{disk['id']} ({disk['sizeGib']} GiB)" for disk in vm["storageDisks"]
    ),
    "runs in": lambda vm: f"{vm['datacenterId']}, {vm['machineType']}, {vm['accelerator'].upper()}",
    "price": lambda vm: f"{vm['price']['totalPriceHr']['value']} an hour{cost(vm)}",
    "metadata": labels,
    "created": lambda vm: f"{local_time(vm['createTime'])} by {vm['createBy']}",
    "waits until": lambda vm: local_time(vm["queueDeadline"]),
    "expires": lambda vm: local_time(vm["expireTime"]),
    "committed": commitment,
    "protected": lambda vm: "from deletion" if vm["deletionProtection"] else "",
}


def timeline_lines(entries: Sequence[Json]) -> Iterator[tuple[str, str, str, str]]:
    """Tell a timeline, each entry with the time since the one before."""
    for last, entry in zip([*entries[:1], *entries], entries, strict=False):
        took = span(seconds_between(last, entry)) if last is not entry else ""
        yield local_time(entry["time"]), took, entry["actor"], entry["text"]
