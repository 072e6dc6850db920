"""`cumulet vm`: virtual machines, from their making to their end."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.asking import ask
from cumulet.cli.client import connect
from cumulet.cli.create import CreateOptions, create_body, warn_without_keys
from cumulet.cli.follow import VM, Wait, follow, read_span
from cumulet.cli.output import (
    AS_TABLE,
    OPTIONS,
    Format,
    Listing,
    aligned,
    show,
    show_data,
    show_one,
    write,
)
from cumulet.cli.progress import Progress
from cumulet.cli.ssh import remember_identities
from cumulet.cli.vm_move import follow_move
from cumulet.cli.vm_views import COLUMNS, FACTS, MORE, timeline_lines
from cumulet.cli.words import NewId, Project, VmName, VmNames
from cumulet.errors import Invalid

VMS: Final = "/v1/projects/{}/vms"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOptions:
    """Whether to wait for what was asked, and for how long."""

    wait: bool = False
    """Show each step on stderr and return when it is done."""
    timeout: str = "15m"
    """How long to wait at most."""

    def deadline(self) -> float:
        """Say until when to wait, on the monotonic clock."""
        return time.monotonic() + read_span("--timeout", self.timeout)

    def deadline_if_waiting(self) -> float | None:
        """Likewise; None when nothing is to be waited for."""
        until = self.deadline()
        return until if self.wait else None


AT_ONCE: Final = WaitOptions()
AS_USUAL: Final = CreateOptions()

app = App(name="vm", default_parameter=OPTIONS)
for where, name, what in (
    ("vm_monitor:monitor", "monitor", "Draw a virtual machine's resource usage."),
    ("vm_wait:wait", "wait", "Wait until virtual machines are ready, running, stopped or deleted."),
    ("vm_resize:resize", "resize", "Resize a virtual machine."),
    ("vm_changes:metadata", "metadata", "Show, add or remove a virtual machine's labels."),
    ("vm_changes:expire", "expire", "Set when a virtual machine is deleted."),
    ("vm_changes:commit", "commit", "Commit a virtual machine to a term that is cheaper."),
    ("vm_changes:protect", "protect", "Protect virtual machines from deletion."),
    ("vm_changes:unprotect", "unprotect", "Let virtual machines be deleted again."),
    ("vm_changes:password", "password", "Change root's password in a running virtual machine."),
    ("vm_changes:authorize", "authorize", "Set the SSH keys that may log in to a running virtual machine."),
    (
        "vm_groups:attach_security_group",
        "attach-security-group",
        "Attach a security group to a VM, effective at once.",
    ),
    (
        "vm_groups:detach_security_group",
        "detach-security-group",
        "Detach a security group from a VM, effective at once.",
    ),
    ("vm_groups:reach", "reach", "Check whether a connection would reach a VM, and which rule decides."),
):
    app.command(f"cumulet.cli.{where}", name=name, help=what)
app.command(
    "cumulet.cli.ssh:ssh",
    name="ssh",
    help="Log in to a virtual machine by SSH, or run a command in it.",
    help_flags=["--help"],
    usage="Usage: cumulet vm ssh [OPTIONS] [OPTIONS OF SSH] NAME [COMMAND...]",
)


@app.command
def create(
    name: NewId,
    /,
    options: CreateOptions = AS_USUAL,
    *,
    waiting: WaitOptions = AT_ONCE,
    output: Format = "table",
    project: Project = "default",
) -> None:
    """Create a virtual machine and start it; with --wait return when its first boot is done."""
    until = waiting.deadline()
    client = connect()
    vm = client.post("/v1/projects/{}/vm", project, body=create_body(client, name, options))["vm"]
    if options.validate_only and output == "table":
        write(f"valid; {name} would cost {vm['price']['totalPriceHr']['value']} an hour\n")
        return
    if not options.validate_only:
        remember_identities(vm, options.ssh_key or ())
        warn_without_keys(vm, options)
    if waiting.wait and not options.validate_only:
        vm = follow(Wait(client, project, name, "create", until), Progress())
    show_one(vm, output, FACTS)


@app.command(name="list", alias="ls")
def list_(
    *,
    label: Annotated[tuple[str, ...], Parameter(name=["--label", "-l"])] = (),
    listing: Listing = AS_TABLE,
    project: Project = "default",
) -> None:
    """List the project's virtual machines.

    :param label: Only those with these labels, such as team=blue,tier: KEY=VALUE, or KEY for any value; repeatable.
    """
    labels = [one for words in label for one in words.split(",")]
    show(connect().list(VMS, project, member="VMs", metadata=labels), listing, COLUMNS, more=MORE)


@app.command
def get(name: VmName, /, *, output: Format = "table", project: Project = "default") -> None:
    """Show a virtual machine."""
    client = connect()
    vm = client.get(VM, project, name)["VM"]
    if output == "table":  # the others give the API's answer as it is
        vm["cost"] = client.get(f"{VM}/usage", project, name)["total"]
    show_one(vm, output, FACTS)


@app.command
def count(*, project: Project = "default") -> None:
    """Count the project's virtual machines."""
    write(f"{connect().get('/v1/projects/{}/count-vms', project)['count']}\n")


@app.command
def start(
    name: VmName, /, *more: VmNames, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Start virtual machines that are stopped; with --wait return when their guests answer."""
    ask(connect(), "start", (name, *more), project=project, until=waiting.deadline_if_waiting())


@app.command
def stop(
    name: VmName, /, *more: VmNames, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Stop virtual machines: their guests are asked to shut down, and forced off after 60 s."""
    ask(connect(), "stop", (name, *more), project=project, until=waiting.deadline_if_waiting())


@app.command
def reboot(
    name: VmName, /, *more: VmNames, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Restart virtual machines; with --wait return when their guests answer again."""
    ask(connect(), "reboot", (name, *more), project=project, until=waiting.deadline_if_waiting())


@app.command(alias="rm")
def delete(
    name: VmName, /, *more: VmNames, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Delete virtual machines with their boot disks, not their storage disks; with --wait return when they are deleted."""
    ask(connect(), "terminate", (name, *more), project=project, until=waiting.deadline_if_waiting())


@app.command
def move(
    name: VmName,
    /,
    *,
    to: Annotated[str, Parameter(help="The host's name; without it the one that is placed best.")] = "",
    restart: Annotated[
        bool, Parameter(help="Shut one that runs down for it, and start it again there.", negative="")
    ] = False,
    abort: Annotated[bool, Parameter(help="Have it stay where it is.", negative="")] = False,
    waiting: WaitOptions = AT_ONCE,
    project: Project = "default",
) -> None:
    """Move a virtual machine with its disks to another host, or with --abort have it stay. Only for operators.

    One that runs goes on running; with --wait return when it is there, saying for how long it stood still.
    """
    client, until = connect(), waiting.deadline()
    if abort:
        client.delete("/v1/moves/{}", f"{project}:{name}")
        return
    client.post("/v1/moves", body={"projectId": project, "vmId": name, "hostId": to, "restart": restart})
    if waiting.wait:
        write(follow_move(client, project, name, until=until))


@app.command
def console(name: VmName, /, *, project: Project = "default") -> None:
    """Open a virtual machine's serial console, closing it for whoever had it open; Ctrl-] leaves it."""
    from cumulet.cli.console import sit_at  # noqa: PLC0415 - brings in websockets, which no other command needs

    sit_at(connect(), project, name)


@app.command(name="connect")
def connect_(name: VmName, /, *, project: Project = "default") -> None:
    """Print a link to a virtual machine's screen for a browser; it can be opened for five minutes."""
    write(f"{connect().get(f'{VM}/connect', project, name)['connectUrl']}\n")


@app.command
def screenshot(name: VmName, file: Path, /, *, project: Project = "default") -> None:
    """Take a screenshot of a virtual machine.

    :param file: Where to write it, as PNG.
    """
    picture = connect().fetch(f"{VM}/screenshot", project, name)
    try:
        file.write_bytes(picture)
    except OSError as problem:
        raise Invalid(f"FILE: cannot write {str(file)!r}: {problem.strerror}") from None


@app.command
def log(name: VmName, /, *, raw: bool = False, project: Project = "default") -> None:
    """Print the newest output of a virtual machine's serial console, also for a week after it was deleted.

    :param raw: With control sequences: colors, and whatever else a guest may have written.
    """
    text = connect().get(f"{VM}/console-log", project, name)["text"]
    if raw:
        sys.stdout.write(text)
    else:
        write(text)


@app.command
def timeline(name: VmName, /, *, output: Format = "table", project: Project = "default") -> None:
    """Show what happened to a virtual machine, when, and how long each step took."""
    entries = connect().get(f"{VM}/timeline", project, name)["entries"]
    if output == "table":
        write(aligned([("TIME", "STEP", "WHO", "WHAT"), *timeline_lines(entries)]))
    elif output == "name":
        write("".join(f"{entry['event']}\n" for entry in entries))
    else:
        show_data(entries, output)
