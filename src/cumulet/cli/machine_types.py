"""`cumulet machine-type`: what kinds of VMs there are, what they cost, and what is free of them."""

from __future__ import annotations

from typing import Final

from cyclopts import App

from cumulet.cli.client import connect
from cumulet.cli.output import AS_TABLE, Columns, Listing, show

COLUMNS: Final[Columns] = {
    "NAME": lambda one: one["machineType"],
    "DATA CENTER": lambda one: one["dataCenterId"],
    "FREE VCPUS": lambda one: str(one["totalVcpuFree"]),
    "FREE MEMORY": lambda one: f"{one['totalMemoryGibFree']} GiB",
    "FREE DISK": lambda one: f"{one['totalStorageGibFree']} GiB",
    "FREE GPUS": lambda one: f"{one['totalGpuFree']} {one['gpuModel']}" if one["gpuModel"] else "",
    "VCPU/HOUR": lambda one: one["vcpuPriceHr"]["value"],
    "GIB/HOUR": lambda one: one["memoryGibPriceHr"]["value"],
}
MORE: Final[Columns] = {
    "CPU": lambda one: one["cpuModel"],
    "GPU/HOUR": lambda one: one["gpuPriceHr"]["value"] if one["gpuModel"] else "",
    "MOST GPUS": lambda one: str(one["maxGpuFree"]) if one["gpuModel"] else "",
}
PRICE_COLUMNS: Final[Columns] = {
    "NAME": lambda one: one["machineType"],
    "DATA CENTER": lambda one: one["dataCenterId"],
    "TERM": lambda one: str(one["commitmentTerm"]).removeprefix("COMMITMENT_TERM_").lower().replace("_", "-"),
    "VCPU/HOUR": lambda one: one["vcpuPriceHr"]["value"],
    "GIB/HOUR": lambda one: one["memoryGibPriceHr"]["value"],
    "GPU/HOUR": lambda one: one["gpuPriceHr"]["value"] if one["gpuModel"] else "",
}
app = App(name="machine-type")


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List the machine types of all data centers."""
    found = connect().get("/v1/vms/machine-types-2")["machineTypes"]
    show(found, listing, COLUMNS, more=MORE, name="machineType")


@app.command
def prices(*, listing: Listing = AS_TABLE) -> None:
    """List what the machine types cost an hour without a commitment, and for each term of one."""
    found = connect().get("/v1/vms/machine-types")["machineTypes"]
    rows = [{**one, **price} for one in found for price in one["prices"]]
    show(rows, listing, PRICE_COLUMNS, name="machineType")
