"""Entering a VM.

Names and addresses of VMs are used again, their host keys are not. So what is remembered of a host key belongs to one
VM of one creation, and a new VM of the same name is not taken for an impostor.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from cumulet.cli.client import Json
from cumulet.cli.keys import find_identity
from cumulet.errors import NotFound, Refused


def enter(vm: Json, command: Sequence[str], *, user: str) -> None:
    """Become ssh to the VM; Refused when it does not run, NotFound without an address or ssh."""
    if vm["state"] != "ACTIVE":
        raise Refused(
            f"VM {vm['id']!r} is {vm['state']} and must be ACTIVE to be entered", reason="VM_NOT_ACTIVE"
        )
    if not vm["externalIpAddress"]:
        raise NotFound(f"VM {vm['id']!r} has no external address to enter it by")
    if shutil.which("ssh") is None:
        raise NotFound("there is no ssh on this machine; install openssh-client")
    arguments = ssh_arguments(vm, command, user=user, identity=find_identity(), known=known_hosts(vm))
    os.execvp(arguments[0], arguments)  # noqa: S606 - a list of arguments and no shell


def ssh_arguments(
    vm: Json, command: Sequence[str], *, user: str, identity: Path | None, known: Path
) -> list[str]:
    """Write the command line of ssh."""
    return [
        "ssh",
        *(["-i", str(identity)] if identity else []),
        "-o",
        f"UserKnownHostsFile={known}",
        "-o",
        f"HostKeyAlias={host_alias(vm)}",
        "-o",
        "StrictHostKeyChecking=accept-new",
        "-o",
        "LogLevel=ERROR",
        f"{user}@{vm['externalIpAddress']}",
        *(["--", *command] if command else []),
    ]


def known_hosts(vm: Json) -> Path:
    """Name the file that remembers the VM's host key, without what it knew of an earlier VM of that name."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    path = state / "cumulet/known_hosts" / f"{vm['projectId']}.{vm['id']}"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and host_alias(vm) not in path.read_text():
        path.unlink()
    return path


def host_alias(vm: Json) -> str:
    """Name a VM unlike any other, earlier ones of the same name included."""
    created = re.sub(r"\D", "", vm["createTime"])
    return f"{vm['id']}.{vm['projectId']}.{created}"
