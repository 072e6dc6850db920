"""`cumulet down`: stops the server, and on request takes away all that it made on this machine but data and images."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from sqlalchemy import select

from cumulet.cli.background import start_server, stop_server
from cumulet.cli.client import Client, connect_here
from cumulet.cli.config import KEY_FILE
from cumulet.cli.follow import VM, Wait, follow
from cumulet.cli.output import write
from cumulet.cli.own_user import with_user
from cumulet.cli.progress import Progress
from cumulet.cli.projects import PROJECTS
from cumulet.db import Database
from cumulet.doctor.calls import clear_host
from cumulet.hosts import installation_id
from cumulet.networks import bridge_prefix
from cumulet.settings import Settings, read_settings
from cumulet.vm_record import Vm

DELETE_SECONDS: Final = 300.0


def down(*, vms: bool = False) -> None:
    """Stop the server; VMs keep running.

    :param vms: Delete all VMs first, and stop what this machine ran for them.
    """
    settings, progress = with_user(read_settings(os.environ)), Progress()
    is_emptied = vms and (settings.data_dir / KEY_FILE).exists()  # else no server has run here yet
    if is_emptied:
        start_server(settings)
        delete_vms(settings, connect_here(settings), progress)
    write("the server is stopped\n" if stop_server(settings) else "no server was running\n")
    if is_emptied and not settings.is_made_up:
        clear_host(our_bridges(settings))


def delete_vms(settings: Settings, client: Client, progress: Progress) -> None:
    """Delete the VMs of all projects and wait until nothing is left of them."""
    found = vms_of(settings, [one["id"] for one in client.list(PROJECTS, member="projects")])
    for project_id, name in found:
        client.post(f"{VM}/terminate", project_id, name)
    deadline = time.monotonic() + DELETE_SECONDS
    for project_id, name in found:
        follow(Wait(client, project_id, name, "terminate", deadline), progress)


def vms_of(settings: Settings, project_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Name the VMs of projects, those too that are being deleted already, which no list shows."""
    theirs = select(Vm.project_id, Vm.name).where(Vm.project_id.in_(project_ids)).order_by(Vm.name)
    with closing(Database(settings.database_url)) as database, database.reading() as db:
        return [(project_id, name) for project_id, name in db.execute(theirs)]


def our_bridges(settings: Settings) -> str:
    """Say how the names of this installation's bridges begin."""
    with closing(Database(settings.database_url)) as database, database.reading() as db:
        return bridge_prefix(installation_id(db))
