"""`cumulet gpu`: the GPUs of the hosts (operator)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from cyclopts import App

from cumulet.cli.client import Json, connect
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Listing, local_time, show, show_one, size
from cumulet.cli.words import identifier

GPUS: Final = "/v1/gpus"
GpuId = Annotated[str, identifier("The GPU's id, HOST:ADDRESS.", GPUS, "gpus")]
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


COLUMNS: Final[Columns] = {
    "NAME": lambda one: one["id"],
    "MODEL": model,
    "STATE": lambda one: one["state"],
    "NUMA": node,
    "WHY": lambda one: "; ".join(why["problem"] for why in one["problems"]),
}
MORE: Final[Columns] = {
    "SINCE": lambda one: local_time(one["stateTime"]),
    "PCI ID": lambda one: one["pciId"],
    "GROUP": lambda one: one["iommuGroup"],
    "DRIVER": lambda one: one["functions"][0]["driver"],
    "RESETS": joined("resetMethods"),
    "BRIDGES": joined("bridges"),
}
FACTS: Final[Columns] = {
    "name": lambda one: one["id"],
    "model": lambda one: f"{one['vendorName']} {one['modelName']}".strip() or "not in the catalogue",
    "memory": lambda one: f"{one['memoryGib']} GiB" if one["memoryGib"] else "",
    "fabric": lambda one: one["fabric"],
    "state": lambda one: f"{one['state']} since {local_time(one['stateTime'])}",
    "why": lambda one: "; ".join(why["problem"] for why in one["problems"]),
    "cure": lambda one: "; ".join(why["cure"] for why in one["problems"]),
    "PCI id": lambda one: f"{one['pciId']}, subsystem {one['subsystemId']}, revision {one['revision']}",
    "functions": lambda one: functions(one["functions"]),
    "IOMMU group": lambda one: one["iommuGroup"],
    "others in it": lambda one: functions(one["groupOthers"]),
    "NUMA node": node,
    "behind": joined("bridges"),
    "BARs": lambda one: ", ".join(size(int(number)) for number in one["barBytes"]),
    "resets by": joined("resetMethods"),
}
app = App(name="gpu", default_parameter=OPTIONS)


@app.command(name="list", alias="ls")
def list_(*, host: HostName | None = None, listing: Listing = AS_TABLE) -> None:
    """List the GPUs of all hosts."""
    query = {"hostId": host} if host else {}
    show(connect().list(GPUS, member="gpus", **query), listing, COLUMNS, more=MORE)


@app.command
def get(name: GpuId, /, *, output: Format = "table") -> None:
    """Show a GPU, and what keeps it from VMs."""
    show_one(connect().get(f"{GPUS}/{{}}", name)["gpu"], output, FACTS)


app.command(
    "cumulet.cli.gpu_prepare:prepare", name="prepare", help="Make this machine ready to give its GPUs to VMs."
)
