"""`cumulet doctor`: what is wrong with this machine as a host, and how to mend it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

from cyclopts import App
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cumulet.doctor.daemons import stop_daemons
from cumulet.doctor.examine import examine
from cumulet.doctor.findings import Finding, Level
from cumulet.doctor.prepare import prepare_host
from cumulet.settings import Settings, read_settings

COLORS: Final = {Level.OK: "green", Level.DEGRADED: "yellow", Level.BROKEN: "red"}


def doctor_app(
    packages: tuple[str, ...] = (), look: Callable[[Settings], Sequence[Finding]] = lambda _: ()
) -> App:
    """The `doctor` commands, for a host that also needs `packages`, and on which there is more to `look` at."""
    app = App(name="doctor", help="Examine and prepare this machine as a host.")

    @app.default
    def show() -> int:
        """Say what is there, what is missing, what that costs and what mends it; exit code 1 if VMs cannot run."""
        settings = read_settings(os.environ)
        findings = [*examine(settings.data_dir, packages=packages), *look(settings)]
        Console().print(findings_table(findings))
        return int(any(finding.level is Level.BROKEN for finding in findings))

    @app.command
    def prepare() -> int:
        """Install what is missing and start what does not run."""
        host = prepare_host(Console(stderr=True, markup=False, highlight=False).print, packages=packages)
        say(f"ready; VMs run under {'KVM' if host.kvm.works else f'TCG: {host.kvm.reason}'}")
        return 0

    @app.command
    def stop() -> int:
        """Stop the daemons that Cumulet runs here, if it does; VMs still running lose their network."""
        say("stopped" if stop_daemons() else "nothing of ours was running")
        return 0

    return app


def say(words: str) -> None:
    """Print a line as it stands."""
    Console(markup=False, highlight=False, soft_wrap=True).print(words)


def findings_table(findings: list[Finding]) -> Table:
    """Findings for a person at a terminal."""
    table = Table(box=None, padding=(0, 1), show_header=False)
    for finding in findings:
        words = Text(finding.text)
        if finding.cost:
            words.append(f"\ncosts: {finding.cost}")
        if finding.cure:
            words.append(f"\nmend: {finding.cure}")
        table.add_row(finding.name, Text(finding.level, style=COLORS[finding.level]), words)
    return table
