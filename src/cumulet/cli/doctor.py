"""`cumulet doctor`: what is wrong with this machine as a host that also builds guest images, and how to mend it."""

from __future__ import annotations

import os
from typing import Final

from cyclopts import App
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cumulet.catalogue import read_catalogue
from cumulet.cli.client import Declined, connect_here
from cumulet.cli.hosts import HOSTS
from cumulet.cli.output import local_time, printable
from cumulet.cli.own_user import closed_to_user, is_user_there
from cumulet.doctor.calls import Finding, Level, broken, degraded, examine, prepare_host, stop_daemons
from cumulet.errors import CumuletError, Invalid
from cumulet.images.recipes import HOST_PACKAGES
from cumulet.settings import LIBVIRT, Settings, read_settings

COLORS: Final = {Level.OK: "green", Level.DEGRADED: "yellow", Level.BROKEN: "red"}

app = App(name="doctor", help="Examine and prepare this machine as a host.")


@app.default
def show() -> int:
    """Say what is there, what is missing, what that costs and what mends it; exit code 1 if VMs cannot run."""
    settings = read_settings(os.environ)
    findings = [*look(settings), *server_as_root(settings), *hosts_away(settings)]
    Console().print(findings_table(findings))
    return int(any(finding.level is Level.BROKEN for finding in findings))


@app.command
def prepare() -> int:
    """Install what is missing and start what does not run."""
    host = prepare_host(Console(stderr=True, markup=False, highlight=False).print, packages=HOST_PACKAGES)
    say(f"ready; VMs run under {'KVM' if host.kvm.works else f'TCG: {host.kvm.reason}'}")
    return 0


@app.command
def stop() -> int:
    """Stop the daemons that Cumulet runs here, if it does; VMs still running lose their network."""
    say("stopped" if stop_daemons() else "nothing of ours was running")
    return 0


def look(settings: Settings) -> list[Finding]:
    """Examine the host, with the disk pools of the catalogue; what is wrong with that is one finding."""
    try:
        data_center = read_catalogue(settings.catalogue).data_centers[0]
    except Invalid as mistake:
        cure = "correct that file: the server does not start until it is valid"
        found = examine(settings.data_dir, packages=HOST_PACKAGES)
        return [*found, broken("catalogue", mistake.message, cure=cure)]
    mounted = {id: path for id, path in data_center.pool_paths.items() if path}
    ceph = data_center.ceph_pools
    return examine(settings.data_dir, packages=HOST_PACKAGES, pools=mounted, ceph=ceph)


def server_as_root(settings: Settings) -> list[Finding]:
    """Tell what keeps the server that `cumulet up` starts from being its own user; nothing before that user is there."""
    if settings.hypervisor != LIBVIRT or not is_user_there() or not (reason := closed_to_user(settings)):
        return []
    return [
        degraded(
            "server",
            f"`cumulet up` runs it as root: {reason}",
            cost="a mistake in it reaches all of this machine",
            cure="docs/guide/service.md",
        )
    ]


def hosts_away(settings: Settings) -> list[Finding]:
    """Tell which hosts of this machine's own cloud do not answer it; nothing where no server runs here."""
    try:
        hosts = connect_here(settings).list(HOSTS, member="hosts")
    except (CumuletError, Declined):
        return []
    return [
        degraded(
            f"host {host['id']}",
            f"{host['state']} since {local_time(host['stateTime'])}: {host['why']}",
            cost="nothing new goes there, and nobody knows what runs there",
            cure=f"see to it: docs/guide/hosts.md; cumulet host get {host['id']}",
        )
        for host in hosts
        if host["state"] in {"SILENT", "LOST"}
    ]


def say(words: str) -> None:
    """Print a line as it stands."""
    Console(markup=False, highlight=False, soft_wrap=True).print(printable(words))


def findings_table(findings: list[Finding]) -> Table:
    """Findings for a person at a terminal."""
    table = Table(box=None, padding=(0, 1), show_header=False)
    for finding in findings:
        words = Text(printable(finding.text))
        if finding.cost:
            words.append(f"\ncosts: {finding.cost}")
        if finding.cure:
            words.append(f"\nfix: {finding.cure}")
        table.add_row(finding.name, Text(finding.level, style=COLORS[finding.level]), words)
    return table
