"""`cumulet host`: the machines that VMs run on (operator)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.client import Client, Json, connect
from cumulet.cli.follow import Failed, read_span, watch
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Listing, local_time, show, show_one, write
from cumulet.cli.progress import Progress
from cumulet.cli.several import each
from cumulet.cli.words import identifier

HOSTS: Final = "/v1/hosts"
HOST: Final = "/v1/hosts/{}"
BAR: Final = 6
"""Characters of a bar."""
HostName = Annotated[str, identifier("The host's name.", HOSTS, "hosts")]
HostNames = Annotated[str, Parameter(name="MORE"), identifier("Further hosts.", HOSTS, "hosts")]
Reason = Annotated[str, Parameter(help="Why, for those who find it so later.")]


def check_labels(_: object, given: Iterable[str]) -> None:
    """Refuse what is not `KEY=VALUE`."""
    for label in given:
        if not label.partition("=")[0] or "=" not in label:
            raise ValueError(f"{label!r} is not accepted; expected KEY=VALUE.")


def check_changes(_: object, given: Iterable[str]) -> None:
    """Refuse what is neither `KEY=VALUE` nor `KEY-`."""
    for change in given:
        key, equals, _value = change.partition("=")
        if not key.removesuffix("-") or not (equals or key.endswith("-")):
            raise ValueError(f"{change!r} is not accepted; expected KEY=VALUE, or KEY- to take a label away.")


LabelChanges = Annotated[
    tuple[str, ...],
    Parameter(name="LABEL", help="KEY=VALUE, or KEY- to take one away.", validator=check_changes),
]


def number(value: float) -> str:
    """Write a number without an empty fraction."""
    return f"{value:g}" if value < 100 else f"{value:.0f}"  # noqa: PLR2004 - beyond it nobody reads tenths


def bar(used: float, total: float) -> str:
    """Draw how much of something is reserved."""
    full = min(round(BAR * used / total), BAR) if total else 0
    if used and not full:
        full = 1
    return f"{'█' * full}{'░' * (BAR - full)} {number(used)}/{number(total)}"


def bars(used: str, total: str) -> Callable[[Json], str]:
    """Draw it of two members."""
    return lambda one: bar(one[used], one[total]) if one[total] else ""


def disk(one: Json) -> str:
    """Draw it of all disk pools together."""
    pools = one["diskPools"]
    return bar(sum(pool["reservedDiskGib"] for pool in pools), sum(pool["diskGib"] for pool in pools))


def labels(one: Json) -> str:
    """Write its labels."""
    return " ".join(f"{key}={value}" for key, value in sorted(one["labels"].items()))


def state(one: Json) -> str:
    """Write its state, and what is asked of one that does not show it."""
    hidden = one["state"] in {"ADDING", "SILENT", "LOST"} and one["wanted"] != "UP"
    return f"{one['state']} ({one['wanted']})" if hidden else str(one["state"])


def central(one: Json) -> str:
    """Write whether it has OVN's databases."""
    if one["central"] == one["toBeCentral"]:
        return "yes" if one["central"] else ""
    return "being brought there" if one["toBeCentral"] else "going elsewhere"


COLUMNS: Final[Columns] = {
    "NAME": lambda one: one["id"],
    "STATE": state,
    "SINCE": lambda one: local_time(one["stateTime"]),
    "CORES": bars("reservedCpus", "cpus"),
    "MEMORY GIB": bars("reservedMemoryGib", "memoryGib"),
    "DISK GIB": disk,
    "GPUS": bars("heldGpus", "gpus"),
    "VMS": lambda one: str(one["vms"]),
    "WHY": lambda one: one["why"],
}
MORE: Final[Columns] = {
    "DATA CENTER": lambda one: one["dataCenterId"],
    "LABELS": labels,
    "CENTRAL": central,
    "SEEN": lambda one: local_time(one["seenTime"]),
    "CPU": lambda one: one["cpuModel"],
    "BY": lambda one: one["accelerator"],
    "VERSION": lambda one: one["version"],
}
FACTS: Final[Columns] = {
    "name": lambda one: one["id"],
    "data center": lambda one: one["dataCenterId"],
    "state": lambda one: f"{state(one)} since {local_time(one['stateTime'])}",
    "why": lambda one: one["why"],
    "labels": labels,
    "last answer": lambda one: local_time(one["seenTime"]),
    "processor": lambda one: f"{one['cpuModel']}, by {one['accelerator']}",
    "equals have": lambda one: one["cpuGroup"],
    "version": lambda one: one["version"],
    "boot id": lambda one: one["bootId"],
    "OVN's databases": central,
    "certified until": lambda one: local_time(one["provedUntil"]) if one["provedUntil"] else "",
    "cores": bars("reservedCpus", "cpus"),
    "memory GiB": bars("reservedMemoryGib", "memoryGib"),
    "disk GiB": lambda one: ", ".join(
        f"{pool['id']} {bar(pool['reservedDiskGib'], pool['diskGib'])}" for pool in one["diskPools"]
    ),
    "GPUs": bars("heldGpus", "gpus"),
    "VMs": lambda one: f"{one['vms']}, of which {one['runningVms']} are to run",
    "reached at": lambda one: one["destination"],
    "SSH key": lambda one: one["hostKey"],
    "images": lambda one: ", ".join(
        f"{image['id'] or image['sha256'][:12]} {image['sizeGib']:g} GiB" for image in one["images"]
    ),
    "examined": lambda one: local_time(one["examinedTime"]) if one["examinedTime"] else "not yet",
    "to be mended": lambda one: "; ".join(
        f"{found['name']}: {found['text']}" + (f" (fix: {found['cure']})" if found["cure"] else "")
        for found in one["findings"]
    ),
    "never known": lambda one: "; ".join(
        f"{kind} {', '.join(ids)}" for kind, ids in sorted(one["strays"].items())
    ),
    "remains": lambda one: ", ".join(one["remains"]),
    "stays": lambda one: "; ".join(f"{vm}: {why}" for vm, why in sorted(one["stays"].items())),
}
app = App(name="host", default_parameter=OPTIONS)


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE) -> None:
    """List the hosts with how they stand and what of them is reserved."""
    show(connect().list(HOSTS, member="hosts"), listing, COLUMNS, more=MORE)


@app.command
def get(name: HostName, /, *, output: Format = "table") -> None:
    """Show a host, and what would have to go before it can be removed."""
    found = connect().get(HOST, name)
    shown = ("destination", "hostKey", "remains", "stays", "images")
    show_one({**found["host"], **{name: found[name] for name in shown}}, output, FACTS)


@app.command
def add(
    destination: Annotated[str, Parameter(help="[root@]HOST[:PORT], where its SSH answers.")],
    /,
    *,
    name: str = "",
    data_center: str = "",
    label: Annotated[tuple[str, ...], Parameter(validator=check_labels, negative=())] = (),
    host_key: str = "",
    background: bool = False,
    timeout: str = "30m",
) -> None:
    """Make a machine part of the cloud: it needs Debian or Ubuntu, SSH, and the key of `cumulet host key` for root.

    What is missing there is installed, and each step is shown. To add it again is harmless: labels that are given then
    are added, and a host key takes the place of the one by which it was known.

    :param name: What the machine calls itself; the first part of HOST unless something else is said.
    :param data_center: Where it stands; the first data center unless another is said.
    :param label: KEY=VALUE, by which machine types choose hosts.
    :param host_key: The public key that it proves itself by; whatever it shows first, unless this is said.
    :param background: Return at once; `cumulet host get NAME` says how far it is.
    :param timeout: How long to wait at most.
    """
    client, until = connect(), time.monotonic() + read_span("--timeout", timeout)
    body = {
        "destination": destination,
        "id": name,
        "dataCenterId": data_center,
        "labels": dict(one.split("=", 1) for one in label),
        "hostKey": host_key,
    }
    id = client.post(HOSTS, body=body)["id"]
    if not background:
        wait_until_added(client, id, until)


def wait_until_added(client: Client, id: str, until: float) -> None:
    """Tell each step until a host is added; what fails is told too, for it is tried again."""
    progress, told = Progress(), ""

    def see() -> tuple[Json, str]:
        nonlocal told
        seen = client.get(HOST, id)["host"]
        if seen["state"] not in {"ADDING", "SILENT", "LOST"}:
            return seen, ""
        if seen["why"] not in {"", told}:
            told = seen["why"]
            progress.say(told)
        return seen, told or f"it is {seen['state']}"

    watch(progress, id, see, deadline=until, late=f"host {id!r} was not added", done="is UP", kind="host")


@app.command
def key() -> None:
    """Print the public key by which the server reaches hosts: append it to /root/.ssh/authorized_keys there."""
    write(connect().get("/v1/host-key")["publicKey"] + "\n")


@app.command
def label(name: HostName, changes: LabelChanges = (), /) -> None:
    """Label a host, so that machine types can choose it: `rack=3`, or `rack-` to take that away; show its labels."""
    client = connect()
    own = dict(client.get(HOST, name)["host"]["labels"])
    for change in changes:
        key, equals, value = change.partition("=")
        if equals:
            own[key] = value
        else:
            own.pop(key.removesuffix("-"), None)
    if changes:
        client.put(f"{HOST}/labels", name, body={"labels": own})
    show_one({"labels": own}, "table", {"labels": labels})


@app.command(name="central")
def choose_central(name: HostName, /, *more: HostNames) -> None:
    """Choose the hosts that have OVN's databases: one, or three that go on when one dies; `host get` tells which have them."""
    connect().put("/v1/host-central", body={"hosts": [name, *more]})


@app.command
def cordon(name: HostName, /, *more: HostNames, reason: Reason = "") -> None:
    """Place nothing new on hosts; what is there stays."""
    client = connect()
    each((name, *more), lambda one: client.post(f"{HOST}/cordon", one, body={"reason": reason}))


@app.command
def uncordon(name: HostName, /, *more: HostNames) -> None:
    """Let hosts have VMs again that were cordoned or drained."""
    client = connect()
    each((name, *more), lambda one: client.post(f"{HOST}/uncordon", one))


@app.command
def drain(
    name: HostName,
    /,
    *more: HostNames,
    reason: Reason = "",
    restart: Annotated[
        bool, Parameter(negative="", help="Shut VMs that run down for it, and start them again elsewhere.")
    ] = False,
) -> None:
    """Place nothing new on hosts, and move what is there elsewhere; `host get` tells what stays, and why."""
    client = connect()
    body = {"reason": reason, "restart": restart}
    each((name, *more), lambda one: client.post(f"{HOST}/drain", one, body=body))


@app.command
def examine(name: HostName, /, *more: HostNames) -> None:
    """Have hosts' doctors look at them now, as they do every quarter of an hour; `host get` tells what they find."""
    client = connect()
    each((name, *more), lambda one: client.post(f"{HOST}/examine", one))


@app.command
def lost(name: HostName, /, *, confirm: bool = False) -> None:
    """Give a silent host up.

    :param confirm: Your word that nothing runs on it any more. Whoever is wrong has VMs run twice, and what they write destroyed.
    """
    if not confirm:
        raise Failed(
            f"look at {name} first: is its power off, or was it booted anew? When nothing of it runs any more, say so: "
            f"cumulet host lost {name} --confirm"
        )
    connect().post(f"{HOST}/lost", name, body={"confirm": name})


@app.command(alias="rm")
def remove(name: HostName, /, *more: HostNames) -> None:
    """Take hosts out of the cloud on which nothing is any more."""
    client = connect()
    each((name, *more), lambda one: client.delete(HOST, one))
