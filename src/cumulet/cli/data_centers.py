"""`cumulet data-center`: where VMs can run."""

from __future__ import annotations

from typing import Final

from cyclopts import App

from cumulet.cli.client import connect
from cumulet.cli.output import AS_TABLE, Columns, Listing, show

COLUMNS: Final[Columns] = {
    "NAME": lambda one: one["id"],
    "REGION": lambda one: one["regionName"],
    "SUPPLIER": lambda one: one["supplierName"],
    "RENEWABLE": lambda one: "yes" if one["renewableEnergy"] else "no",
    "FREE ADDRESSES": lambda one: str(one["ipv4Free"]),
}
app = App(name="data-center")


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List the data centers."""
    show(connect().get("/v1/vms/data-centers")["dataCenters"], listing, COLUMNS)
