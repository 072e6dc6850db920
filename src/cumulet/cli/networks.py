"""`cumulet network`: the private networks that VMs meet on."""

from __future__ import annotations

from typing import Final

from cyclopts import App

from cumulet.cli.client import connect
from cumulet.cli.create import only_data_center
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Listing, local_time, show, show_one
from cumulet.cli.several import each
from cumulet.cli.words import NetworkName, NetworkNames, NewId, Project

NETWORKS: Final = "/v1/projects/{}/networks"
NETWORK: Final = f"{NETWORKS}/{{}}"
COLUMNS: Final[Columns] = {
    "NAME": lambda one: one["id"],
    "STATE": lambda one: one["state"],
    "RANGE": lambda one: one["ipRange"],
    "GATEWAY": lambda one: one["gateway"],
    "EXTERNAL": lambda one: one["externalIpAddress"],
    "DATA CENTER": lambda one: one["dataCenterId"],
    "NOW": lambda one: one["problem"] or one["waitingFor"],
}
FACTS: Final[Columns] = {
    "name": lambda one: one["id"],
    "state": lambda one: one["state"],
    "waits for": lambda one: one["waitingFor"],
    "problem": lambda one: one["problem"],
    "range": lambda one: one["ipRange"],
    "IPv6 range": lambda one: f"{one['ipv6Range']}, within the project",
    "gateway": lambda one: one["gateway"],
    "external address": lambda one: one["externalIpAddress"],
    "data center": lambda one: one["dataCenterId"],
    "price": lambda one: f"{one['priceHr']['value']} an hour",
    "created": lambda one: local_time(one["createTime"]),
}
app = App(name="network", default_parameter=OPTIONS)


@app.command
def create(
    name: NewId,
    range_: str,
    /,
    *,
    data_center: str = "",
    output: Format = "table",
    project: Project = "default",
) -> None:
    """Create a private network.

    :param range_: Its addresses, such as 10.1.0.0/24.
    :param data_center: Where it is; needed only where there are several.
    """
    client = connect()
    place = data_center or only_data_center(client)
    body = {"id": name, "dataCenterId": place, "ipRange": range_}
    show_one(client.post(NETWORKS, project, body=body), output, FACTS)


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE, project: Project = "default") -> None:
    """List the project's networks."""
    show(connect().list(NETWORKS, project, member="networks"), listing, COLUMNS)


@app.command
def get(name: NetworkName, /, *, output: Format = "table", project: Project = "default") -> None:
    """Show a network."""
    show_one(connect().get(NETWORK, project, name)["network"], output, FACTS)


@app.command
def start(name: NetworkName, /, *, project: Project = "default") -> None:
    """Connect a stopped network to the others and the Internet again."""
    connect().post(f"{NETWORK}/start", project, name)


@app.command
def stop(name: NetworkName, /, *, project: Project = "default") -> None:
    """Disconnect a network from the others and the Internet; its VMs still reach each other."""
    connect().post(f"{NETWORK}/stop", project, name)


@app.command(alias="rm")
def delete(name: NetworkName, /, *more: NetworkNames, project: Project = "default") -> None:
    """Delete networks that no VM has a NIC on."""
    client = connect()
    each((name, *more), lambda one: client.delete(NETWORK, project, one))
