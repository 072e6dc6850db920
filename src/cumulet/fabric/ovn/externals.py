"""A data center's uplink in OVN: a switch whose one port is the host's bridge, and where routers plug in.

Its rules let pass only what network address translation made: into a router nothing but to an address of the
external range, out of a router nothing but from one (OVN cannot say "any port but the bridge": so what the bridge
sends and gets is allowed first). So no project reaches the private addresses of another, even
with a router's MAC in its hands and whatever ranges the two use. IPv6 is for within a project.
"""

from __future__ import annotations

from cumulet.fabric import ExternalSpec
from cumulet.fabric.ovn import names
from cumulet.fabric.ovn.replica import Row
from cumulet.fabric.ovn.rows import Draft, View


def external_id(spec: ExternalSpec) -> str:
    """The owner of its rows."""
    return f"external/{spec.bridge}"


def find_switch(view: View, spec: ExternalSpec) -> Row | None:
    """Its switch, if it is there."""
    return view.find("Logical_Switch", external_id(spec), "external")


def declare_external(view: View, spec: ExternalSpec) -> None:
    """Its rows."""
    draft = Draft(view, external_id(spec))
    bridge_port = names.bridge_port(view.installation, spec.bridge)
    switch = draft.row(
        "Logical_Switch",
        "external",
        name=names.external_switch(view.installation, spec.bridge),
        other_config={"broadcast-arps-to-all-routers": "false"},
        acls=[
            _declare_rule(draft, "to-lport", 1001, f'outport == "{bridge_port}"', "allow"),
            _declare_rule(draft, "to-lport", 1000, f"ip6 || ip4.dst != {spec.range}", "drop"),
            _declare_rule(draft, "from-lport", 1001, f'inport == "{bridge_port}"', "allow"),
            _declare_rule(draft, "from-lport", 1000, f"ip6 || ip4.src != {spec.range}", "drop"),
        ],
    )
    draft.row(
        "Logical_Switch_Port",
        "bridge",
        inside=[(switch, "ports")],
        name=bridge_port,
        type="localnet",
        addresses=["unknown"],
        options={"network_name": spec.bridge},
        enabled=[],
    )
    draft.finish()


def _declare_rule(draft: Draft, direction: str, priority: int, match: str, action: str) -> Row:
    """One rule for packets to or from the ports of the switch; the higher priority wins."""
    return draft.row(
        "ACL", f"{direction} {action}", direction=direction, priority=priority, match=match, action=action
    )
