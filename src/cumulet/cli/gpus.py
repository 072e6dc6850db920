"""`cumulet gpu`: the GPUs of the hosts (operator)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.client import Client, Json, connect
from cumulet.cli.follow import Failed, watch
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Listing, local_time, show, show_one, size
from cumulet.cli.progress import Progress
from cumulet.cli.several import each
from cumulet.cli.vms import AT_ONCE, WaitOptions
from cumulet.cli.words import identifier

GPUS: Final = "/v1/gpus"
GPU: Final = "/v1/gpus/{}"
GpuId = Annotated[str, identifier("The GPU's id, HOST:ADDRESS.", GPUS, "gpus")]
GpuIds = Annotated[str, Parameter(name="MORE"), identifier("Further GPUs.", GPUS, "gpus")]
HostName = Annotated[str, identifier("Only those of this host.")]


def node(one: Json) -> str:
    """Write its NUMA node, if there is one to tell."""
    return "" if one["numaNode"] is None else str(one["numaNode"])


def model(one: Json) -> str:
    """Call it what the catalogue calls it, or by its ids."""
    return str(one["modelName"] or one["pciId"])


def functions(found: list[Json]) -> str:
    """Write functions, each with its driver."""
    return ", ".join(f"{one['address']} ({one['pciId']}, {one['driver'] or 'no driver'})" for one in found)


def joined(member: str) -> Callable[[Json], str]:
    """Write a list of words."""
    return lambda one: " ".join(one[member])


def dma(proof: Json) -> str:
    """Tell where the card got to by itself."""
    if proof["dmaInside"] is None:
        return "not tried: this card does it for its maker's driver alone"
    inside = "reaches its guest's memory" if proof["dmaInside"] else "does not reach its guest's memory"
    return f"{inside}, and {'reads' if proof['dmaOutside'] else 'nothing'} outside of it"


def vm(one: Json) -> str:
    """Name the VM that holds it, and whose it is."""
    return f"{one['projectId']}/{one['vmId']}" if one["vmId"] else ""


def why(one: Json) -> str:
    """Tell what keeps it from VMs, in one line."""
    problems = [problem["problem"] for problem in one["problems"]]
    return "; ".join(
        [*(["withdrawn"] if one["withdrawn"] else []), *filter(None, [one["waitingFor"]]), *problems]
    )


def partitions(one: Json) -> str:
    """Write in which partitions it is, each with how many GPUs it joins."""
    return " ".join(f"{found['number']}({found['gpus']})" for found in one["partitions"])


COLUMNS: Final[Columns] = {
    "NAME": lambda one: one["id"],
    "MODEL": model,
    "STATE": lambda one: one["state"],
    "VM": vm,
    "NUMA": node,
    "WHY": why,
}
MORE: Final[Columns] = {
    "SINCE": lambda one: local_time(one["stateTime"]),
    "CLEANED": lambda one: local_time(one["cleanedTime"]),
    "PCI ID": lambda one: one["pciId"],
    "GROUP": lambda one: one["iommuGroup"],
    "DRIVER": lambda one: one["functions"][0]["driver"],
    "RESETS": joined("resetMethods"),
    "BRIDGES": joined("bridges"),
    "SWITCH": lambda one: one["switch"],
    "PARTITIONS": partitions,
}
FACTS: Final[Columns] = {
    "name": lambda one: one["id"],
    "model": lambda one: f"{one['vendorName']} {one['modelName']}".strip() or "not in the catalogue",
    "memory": lambda one: f"{one['memoryGib']} GiB" if one["memoryGib"] else "",
    "fabric": lambda one: one["fabric"],
    "state": lambda one: f"{one['state']} since {local_time(one['stateTime'])}",
    "why": why,
    "cure": lambda one: "; ".join(problem["cure"] for problem in one["problems"]),
    "VM": vm,
    "cleaned": lambda one: local_time(one["cleanedTime"]),
    "PCI id": lambda one: f"{one['pciId']}, subsystem {one['subsystemId']}, revision {one['revision']}",
    "functions": lambda one: functions(one["functions"]),
    "IOMMU group": lambda one: one["iommuGroup"],
    "others in it": lambda one: functions(one["groupOthers"]),
    "NUMA node": node,
    "behind": joined("bridges"),
    "switch": lambda one: one["switch"],
    "partitions": partitions,
    "BARs": lambda one: ", ".join(size(int(number)) for number in one["barBytes"]),
    "resets by": joined("resetMethods"),
}
ADDRESS: Final = ~0xF
"""What of a register is an address and not a flag."""
PROOF: Final[Columns] = {
    "problem": lambda proof: proof["problem"] or "none",
    "functions": lambda proof: ", ".join(
        f"{one['address']} found as {one['pciId']}" for one in proof["functions"]
    ),
    "memory at": lambda proof: ", ".join(
        f"{int(bar) & ADDRESS:#x}" for one in proof["functions"] for bar in one["bars"] if int(bar) & ADDRESS
    ),
    "reaches memory": lambda proof: ", ".join(
        f"{one['address']}: {'yes' if one['mastersBus'] else 'no'}" for one in proof["functions"]
    ),
    "DMA": dma,
}
PROOF_SECONDS: Final = 300.0
app = App(name="gpu", default_parameter=OPTIONS)


@app.command(name="list", alias="ls")
def list_(*, host: HostName | None = None, listing: Listing = AS_TABLE) -> None:
    """List the GPUs of all hosts."""
    query = {"hostId": host} if host else {}
    show(connect().list(GPUS, member="gpus", **query), listing, COLUMNS, more=MORE)


@app.command
def get(name: GpuId, /, *, output: Format = "table") -> None:
    """Show a GPU, and what keeps it from VMs."""
    show_one(connect().get(GPU, name)["gpu"], output, FACTS)


@app.command
def clean(name: GpuId, /, *more: GpuIds, waiting: WaitOptions = AT_ONCE) -> None:
    """Reset GPUs that no VM holds and look whether they are as new; with --wait return when they are.

    One that is QUARANTINED is FREE again then.
    """
    client, until = connect(), waiting.deadline_if_waiting()
    wait = [lambda one: wait_until_clean(client, one, until)] if until is not None else []
    each((name, *more), lambda one: client.post(f"{GPU}/clean", one), *wait)


@app.command
def prove(name: GpuId, /, *, output: Format = "table") -> int:
    """Give a GPU that no VM holds to a small guest, and show what that found; exit code 1 if it was not what it should be."""
    client = connect()
    client.post(f"{GPU}/prove", name)
    gpu = wait_until_clean(client, name, time.monotonic() + PROOF_SECONDS, done="was proved")
    show_one(gpu["proof"], output, PROOF)
    return int(bool(gpu["proof"]["problem"]))


@app.command
def withdraw(name: GpuId, /, *more: GpuIds) -> None:
    """Give GPUs to no further VM; one that has them keeps them."""
    client = connect()
    each((name, *more), lambda one: client.post(f"{GPU}/withdraw", one))


@app.command
def offer(name: GpuId, /, *more: GpuIds) -> None:
    """Let VMs have GPUs again that were withdrawn."""
    client = connect()
    each((name, *more), lambda one: client.post(f"{GPU}/offer", one))


app.command(
    "cumulet.cli.gpu_prepare:prepare", name="prepare", help="Make this machine ready to give its GPUs to VMs."
)


def wait_until_clean(client: Client, name: str, until: float, done: str = "was cleaned") -> Json:
    """Wait until a GPU is not being cleaned any more, and give it; Failed when it did not get clean."""

    def see() -> tuple[Json, str]:
        seen = client.get(GPU, name)["gpu"]
        if seen["state"] not in {"CLEANING", "FREE", "HELD"}:
            raise Failed(f"GPU {name!r} is {seen['state']}: {why(seen)}")
        return seen, (seen["waitingFor"] or "it is CLEANING") if seen["state"] == "CLEANING" else ""

    late = f"GPU {name!r} was not clean"
    return watch(Progress(), name, see, deadline=until, late=late, done=done, kind="gpu")
