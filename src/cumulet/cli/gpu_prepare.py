"""`cumulet gpu prepare`: what it takes to give this machine's GPUs to VMs, shown before it is done (operator)."""

from __future__ import annotations

import sys
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cumulet.cli.output import printable, write
from cumulet.cli.words import Count
from cumulet.doctor.calls import GpuPlan, GpuWish, StepState, plan_gpus, prepare_gpus, undo_gpus
from cumulet.errors import Invalid

COLORS: Final = {StepState.DONE: "green", StepState.YOURS: "red"}
OTHERS: Final = "yellow"
AddressList = Annotated[
    str, Parameter(name="ADDRESS", help="The GPUs that are for VMs, as 0000:65:00.0; none: all that can be.")
]


def prepare(
    *addresses: AddressList,
    hugepages: Annotated[Count | None, Parameter(help="GiB of memory to keep in pages of 1 GiB.")] = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Only show what would be done.")] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do it without asking.")] = False,
    undo: Annotated[bool, Parameter(negative="", help="Remove what this command wrote earlier.")] = False,
) -> int:
    """Make this machine ready to give its GPUs to VMs: show what that takes, and do it.

    What takes a reboot says so; after it, run the same again. Exit code 1 as long as something is left for you to do.
    """
    if undo:
        return give_back()
    wish = GpuWish(addresses, hugepages)
    plan = plan_gpus(wish)
    Console().print(steps_table(plan))
    if not plan.changes_nothing and not dry_run:
        if not (yes or agreed()):
            write("nothing was changed\n")
            return 1
        plan = prepare_gpus(wish, Console(stderr=True, markup=False, highlight=False).print)
        Console().print(steps_table(plan))
    write(verdict(plan, wish) + "\n")
    return int(plan.has(StepState.YOURS) and not dry_run)


def give_back() -> int:
    """Undo it, and say what that means."""
    removed = undo_gpus(Console(stderr=True, markup=False, highlight=False).print)
    write(
        "reboot the host: its own drivers have the GPUs from then on\n"
        if removed
        else "nothing of ours was there\n"
    )
    return 0


def agreed() -> bool:
    """Ask whether to go on."""
    if not sys.stdin.isatty():
        raise Invalid("nobody is there to ask: give --yes to do this, or --dry-run to only see it")
    return input("Do this? [y/N] ").strip().lower() in {"y", "yes"}


def steps_table(plan: GpuPlan) -> Table:
    """Steps for a person at a terminal."""
    table = Table(box=None, padding=(0, 1), show_header=False)
    for step in plan.steps:
        words = Text(printable(step.text))
        if step.next:
            words.append(f"\n→ {step.next}")
        table.add_row(step.name, Text(step.state, style=COLORS.get(step.state, OTHERS)), words)
    return table


def verdict(plan: GpuPlan, wish: GpuWish) -> str:
    """Say what comes next."""
    if plan.has(StepState.YOURS):
        return "some steps are yours to do, above; then run this again"
    if plan.has(StepState.REBOOT):
        return f"reboot the host, then run: {again(wish)}"
    if plan.has(StepState.TO_DO):
        return f"to do this, run: {again(wish)}"
    return "ready; `cumulet gpu list` shows which GPUs are FREE"


def again(wish: GpuWish) -> str:
    """Write the command that was given."""
    pages = () if wish.hugepages is None else ("--hugepages", str(wish.hugepages))
    return " ".join(("cumulet gpu prepare", *wish.addresses, *pages))
