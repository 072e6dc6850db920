"""The map of a project's networks: where each box and line of it is, and what is written there. Pure.

outside ── router of a data center ── network ── VM on it
                                        └─────── VM on it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cumulet.networks.make import default_network_name
from cumulet.networks.wire import NetworkAnswer, NetworkState
from cumulet.vms.wire import Nic
from cumulet.web.listings import ConnectedVm, nics_of

WIDTH: Final = 1000
COLUMNS: Final = ((0, 110), (160, 170), (380, 230), (660, 340))
"""Where outside, routers, networks and VMs begin, and how wide they are."""
ROW: Final = 46
GAP: Final = 8
BETWEEN: Final = 18
"""Between the VMs of two networks."""
MOST: Final = 8
"""VMs of a network that are drawn; of the others only how many there are."""
APART: Final = frozenset({NetworkState.STOPPED, NetworkState.STOPPING, NetworkState.DELETING})
"""Networks in these states lead nowhere."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A VM by one of its NICs."""

    vm: ConnectedVm
    nic: Nic


@dataclass(frozen=True, slots=True)
class Box:
    """Something on the map: its corner and its size, and what is in it."""

    x: float
    y: float
    width: float
    height: float
    network: NetworkAnswer | None = None
    attached: Attached | None = None
    title: str = ""
    words: str = ""

    @property
    def middle(self) -> float:
        """How far down lines meet it."""
        return self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Line:
    """A connection of two boxes, as SVG's `d`."""

    path: str
    is_open: bool = True


@dataclass(slots=True)
class Map:
    """All of it."""

    height: float = 0
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


def attached_to(networks: Iterable[NetworkAnswer], vms: Iterable[ConnectedVm]) -> dict[str, list[Attached]]:
    """Give the NICs on each network, by the names of their VMs."""
    found: dict[str, list[Attached]] = {one.id: [] for one in networks}
    for vm in vms:
        for nic in nics_of(vm):
            found.setdefault(nic.network_id or default_network_name(vm.datacenter_id), []).append(
                Attached(vm, nic)
            )
    return found


def map_of(networks: Sequence[NetworkAnswer], attached: dict[str, list[Attached]]) -> Map:
    """Lay it out: VMs one under another, and whatever they hang on in the middle of them."""
    drawn = Map()
    routers = []
    for data_center in sorted({one.data_center_id for one in networks}):
        mine = [one for one in networks if one.data_center_id == data_center]
        boxes = [put_network(drawn, one, attached[one.id]) for one in mine]
        address = next((one.external_ip_address for one in mine if one.external_ip_address), "")
        router = put(drawn, 1, middle_of(boxes), title=f"Router of {data_center}", words=address)
        drawn.lines += [
            line(router, box, is_open=network.state not in APART)
            for box, network in zip(boxes, mine, strict=True)
        ]
        routers.append(router)
    outside = put(drawn, 0, middle_of(routers), title="Outside", words="the Internet")
    drawn.lines += [line(outside, one) for one in routers]
    drawn.height -= BETWEEN
    return drawn


def put_network(drawn: Map, network: NetworkAnswer, attached: Sequence[Attached]) -> Box:
    """Draw a network, with the VMs on it beside it."""
    x, width = COLUMNS[3]
    boxes = []
    for at, one in enumerate(attached[:MOST]):
        boxes.append(Box(x, drawn.height + at * (ROW + GAP), width, ROW, attached=one))
    more = len(attached) - MOST
    if more > 0 or not attached:
        y = drawn.height + len(boxes) * (ROW + GAP)
        title = f"{more} more" if more > 0 else "no VM is on it"
        boxes.append(Box(x, y, width, ROW, network=network, words=title))
    drawn.boxes += boxes
    box = put(drawn, 2, middle_of(boxes), network=network)
    drawn.lines += [line(box, one) for one in boxes if one.attached or more > 0]
    drawn.height += len(boxes) * (ROW + GAP) - GAP + BETWEEN
    return box


def put(
    drawn: Map,
    column: int,
    middle: float,
    *,
    network: NetworkAnswer | None = None,
    title: str = "",
    words: str = "",
) -> Box:
    """Draw a box of a column, with its middle so far down."""
    x, width = COLUMNS[column]
    box = Box(x, middle - ROW / 2, width, ROW, network=network, title=title, words=words)
    drawn.boxes.append(box)
    return box


def middle_of(boxes: Sequence[Box]) -> float:
    """Give the middle of boxes that are one under another."""
    return (boxes[0].middle + boxes[-1].middle) / 2


def line(left: Box, right: Box, *, is_open: bool = True) -> Line:
    """Connect two boxes with a soft bend."""
    start, end = left.x + left.width, right.x
    bend = (start + end) / 2
    path = f"M{start:g} {left.middle:g}C{bend:g} {left.middle:g} {bend:g} {right.middle:g} {end:g} {right.middle:g}"
    return Line(path, is_open)
