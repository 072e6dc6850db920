"""`cumulet vm attach-security-group`, `detach-security-group` and `reach`: a VM behind its rules."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from cyclopts import Parameter

from cumulet.cli.client import Query, connect
from cumulet.cli.follow import VM
from cumulet.cli.output import Format, show_data, write
from cumulet.cli.words import Count, GroupName, NetworkName, Project, VmName

NICS: Final = "/v1/projects/{}/vm/{}/security-group"


def attach_security_group(name: VmName, group: GroupName, /, *, project: Project = "default") -> None:
    """Attach a security group to all NICs of a virtual machine; in force at once."""
    connect().patch(f"{NICS}/attach", project, name, securityGroupId=group)


def detach_security_group(name: VmName, group: GroupName, /, *, project: Project = "default") -> None:
    """Detach a security group from a virtual machine; in force at once."""
    connect().patch(f"{NICS}/detach", project, name, securityGroupId=group)


def reach(
    name: VmName,
    /,
    *,
    from_: Annotated[str, Parameter(name="--from")],
    protocol: Literal["tcp", "udp", "icmp"] = "tcp",
    port: Count = 0,
    network: NetworkName | None = None,
    output: Format = "table",
    project: Project = "default",
) -> int:
    """Check whether a new connection would reach a virtual machine, and which rule decides; fails when it would not.

    :param from_: The address that it comes from.
    :param protocol: What kind of connection.
    :param port: To which port; none with icmp.
    :param network: To the NIC on which network; without, to the one that leads out.
    """
    query: dict[str, Query] = {"from": from_, "protocol": protocol, "port": port, "networkId": network or ""}
    verdict = connect().get(f"{VM}/reachability", project, name, **query)
    if output == "table":
        write(f"{'yes' if verdict['reachable'] else 'no'}: {verdict['reason']}\n")
    elif output != "name":
        show_data(verdict, output)
    return int(not verdict["reachable"])
