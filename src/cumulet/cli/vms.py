"""`cumulet vm`: virtual machines, from their making to their end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.client import connect
from cumulet.cli.create import Wishes, create_body
from cumulet.cli.follow import VM, Verb, Wait, follow, read_span
from cumulet.cli.output import OPTIONS, Format, Project, aligned, printable, show, show_data, show_one, write
from cumulet.cli.progress import Progress
from cumulet.cli.ssh import enter
from cumulet.cli.vm_views import COLUMNS, FACTS, timeline_lines
from cumulet.errors import Invalid

VMS: Final = "/v1/projects/{}/vms"
Name = Annotated[str, Parameter(help="The VM's id.")]
Names = Annotated[str, Parameter(name="MORE", help="Further VMs.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Whether to wait for what was asked, and for how long."""

    wait: bool = False
    """Show each step on stderr and return when it is done."""
    timeout: str = "15m"
    """How long to wait at most."""

    def deadline(self) -> float:
        """Say until when to wait, on the monotonic clock."""
        return time.monotonic() + read_span("--timeout", self.timeout)


AT_ONCE: Final = Patience()
AS_USUAL: Final = Wishes()

app = App(name="vm", default_parameter=OPTIONS)
for where, name, what in (
    ("vm_monitor:monitor", "monitor", "Draw what a virtual machine used."),
    ("vm_changes:resize", "resize", "Give a stopped virtual machine another size."),
    ("vm_changes:metadata", "metadata", "Show a virtual machine's labels, or add to them."),
    ("vm_changes:expire", "expire", "Say when a virtual machine is to be deleted."),
    ("vm_changes:password", "password", "Give a running virtual machine's root another password."),
    ("vm_changes:authorize", "authorize", "Say whose SSH keys a running virtual machine lets in."),
    (
        "vm_groups:attach_security_group",
        "attach-security-group",
        "Attach a security group to a VM; in force at once.",
    ),
    ("vm_groups:detach_security_group", "detach-security-group", "Detach one; in force at once."),
    ("vm_groups:reach", "reach", "Say whether a connection would reach a VM, and which rule decides."),
):
    app.command(f"cumulet.cli.{where}", name=name, help=what)


@app.command
def create(
    name: Name,
    /,
    wishes: Wishes = AS_USUAL,
    *,
    patience: Patience = AT_ONCE,
    output: Format = "table",
    project: Project = "default",
) -> None:
    """Create a virtual machine and start it; with --wait return when its first boot is done."""
    until = patience.deadline()
    client = connect()
    vm = client.post("/v1/projects/{}/vm", project, body=create_body(client, name, wishes))["vm"]
    if wishes.validate_only and output == "table":
        write(f"valid; {name} would cost {vm['price']['totalPriceHr']['value']} an hour\n")
        return
    if patience.wait and not wishes.validate_only:
        vm = follow(Wait(client, project, name, "create", until), Progress())
    show_one(vm, output, FACTS)


@app.command(name="list", alias="ls")
def list_(*, output: Format = "table", project: Project = "default") -> None:
    """List the project's virtual machines."""
    show(connect().get(VMS, project)["VMs"], output, COLUMNS)


@app.command
def get(name: Name, /, *, output: Format = "table", project: Project = "default") -> None:
    """Show a virtual machine."""
    show_one(connect().get(VM, project, name)["VM"], output, FACTS)


@app.command
def count(*, project: Project = "default") -> None:
    """Count the project's virtual machines."""
    write(f"{connect().get('/v1/projects/{}/count-vms', project)['count']}\n")


@app.command
def start(name: Name, /, *more: Names, patience: Patience = AT_ONCE, project: Project = "default") -> None:
    """Start virtual machines that are stopped; with --wait return when their guests answer."""
    ask("start", (name, *more), patience, project=project)


@app.command
def stop(name: Name, /, *more: Names, patience: Patience = AT_ONCE, project: Project = "default") -> None:
    """Stop virtual machines: their guests are asked, and unplugged if they do not obey in their time."""
    ask("stop", (name, *more), patience, project=project)


@app.command
def reboot(name: Name, /, *more: Names, patience: Patience = AT_ONCE, project: Project = "default") -> None:
    """Restart virtual machines; with --wait return when their guests answer again."""
    ask("reboot", (name, *more), patience, project=project)


@app.command(alias="rm")
def delete(name: Name, /, *more: Names, patience: Patience = AT_ONCE, project: Project = "default") -> None:
    """Delete virtual machines with their boot disks, not their storage disks; with --wait return when they are gone."""
    ask("terminate", (name, *more), patience, project=project)


@app.command(help_flags=["--help"])
def ssh(
    name: Name,
    /,
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    user: str = "root",
    project: Project = "default",
) -> None:
    """Enter a virtual machine by SSH, or run a command in it.

    :param command: The command and its arguments; none for a shell.
    :param user: Whom to be in there.
    """
    enter(connect().get(VM, project, name)["VM"], command, user=user)


@app.command
def console(name: Name, /, *, project: Project = "default") -> None:
    """Sit at a virtual machine's serial console; Ctrl-] leaves it, and whoever sat there before is sent away."""
    from cumulet.cli.console import sit_at  # noqa: PLC0415 - brings in websockets, which no other command needs

    sit_at(connect(), project, name)


@app.command(name="connect")
def connect_(name: Name, /, *, project: Project = "default") -> None:
    """Print a link to a virtual machine's screen for a browser; it can be opened for five minutes."""
    write(f"{connect().get(f'{VM}/connect', project, name)['connectUrl']}\n")


@app.command
def screenshot(name: Name, file: Path, /, *, project: Project = "default") -> None:
    """Take a picture of a virtual machine's screen.

    :param file: Where to write it, as PNG.
    """
    picture = connect().fetch(f"{VM}/screenshot", project, name)
    try:
        file.write_bytes(picture)
    except OSError as problem:
        raise Invalid(f"FILE: cannot write {str(file)!r}: {problem.strerror}") from None


@app.command
def log(name: Name, /, *, project: Project = "default") -> None:
    """Print the newest of what a virtual machine wrote to its serial console, also for a week after it is gone."""
    write(printable(connect().get(f"{VM}/console-log", project, name)["text"]))


@app.command
def timeline(name: Name, /, *, output: Format = "table", project: Project = "default") -> None:
    """Tell what happened to a virtual machine, when, and how long each step took."""
    entries = connect().get(f"{VM}/timeline", project, name)["entries"]
    if output == "table":
        write(aligned([("TIME", "STEP", "WHAT", "WHO"), *timeline_lines(entries)]))
    elif output == "name":
        write("".join(f"{entry['event']}\n" for entry in entries))
    else:
        show_data(entries, output)


def ask(verb: Verb, names: Sequence[str], patience: Patience, *, project: str) -> None:
    """Ask the same of VMs; all are asked before the first is waited for."""
    until = patience.deadline()
    client = connect()
    for name in names:
        client.post(f"{VM}/{verb}", project, name)
    for name in names if patience.wait else ():
        follow(Wait(client, project, name, verb, until), Progress())
