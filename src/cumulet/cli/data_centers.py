"""`cumulet data-center`: where VMs can run."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App

from cumulet.cli.client import connect
from cumulet.cli.members import Role
from cumulet.cli.output import AS_TABLE, Columns, Format, Listing, show
from cumulet.cli.several import each
from cumulet.cli.users import Email, Emails, show_invitation
from cumulet.cli.words import identifier

COLUMNS: Final[Columns] = {
    "NAME": lambda one: one["id"],
    "REGION": lambda one: one["regionName"],
    "SUPPLIER": lambda one: one["supplierName"],
    "RENEWABLE": lambda one: "yes" if one["renewableEnergy"] else "no",
    "FREE ADDRESSES": lambda one: str(one["ipv4Free"]),
}
MEMBERS: Final[Columns] = {
    "E-MAIL": lambda one: one["userEmail"],
    "ROLE": lambda one: one["role"],
    "STATE": lambda one: one["state"],
}
PATH: Final = "/v1/data-centers/{}"
DataCenter = Annotated[str, identifier("The data center.")]
app = App(name="data-center")
members = App(name="member", help="Who looks after a data center and its hosts.")
app.command(members)


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List the data centers."""
    show(connect().get("/v1/vms/data-centers")["dataCenters"], listing, COLUMNS)


@members.command(name="list", alias="ls")
def list_members(data_center: DataCenter, /, *, listing: Listing = AS_TABLE) -> None:
    """List who looks after a data center, and as what."""
    shown = connect().get("/v1/auth/permissions", dataCenterId=data_center)
    show(shown["dataCenterPermissions"], listing, MEMBERS, name="userEmail")


@members.command
def add(data_center: DataCenter, email: Email, role: Role = "viewer", /, *, output: Format = "table") -> None:
    """Let somebody look after a data center, or give them another role; for who is new here, print the code to give them.

    :param role: Viewers see its hosts and GPUs, editors cordon, drain and label them, owners decide who may.
    """
    body = {"userEmail": email, "role": role.upper()}
    answer = connect().post(f"{PATH}/add-user-permission", data_center, body=body)
    if "invitation" in answer:
        show_invitation(answer["invitation"], output)


@members.command(alias="rm")
def remove(data_center: DataCenter, email: Email, /, *more: Emails) -> None:
    """Have people look after a data center no more."""
    client, path = connect(), f"{PATH}/remove-user-permission"
    each((email, *more), lambda one: client.post(path, data_center, body={"userEmail": one}))
