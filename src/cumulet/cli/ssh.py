"""Entering a VM: `cumulet vm ssh` takes the words that ssh takes, with a VM where ssh has a host.

Names and addresses of VMs are used again, their host keys are not. So what is remembered of a host key, and of the key
that a VM was created with, belongs to one VM of one creation, and a new VM of the same name is not taken for an impostor.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

from cyclopts import Parameter

from cumulet.cli.client import Json, connect
from cumulet.cli.follow import VM, read_span
from cumulet.cli.keys import find_identity
from cumulet.cli.vm_wait import is_ready, is_running, wait_until
from cumulet.cli.words import Project, is_id, names_at
from cumulet.errors import Invalid, NotFound, Refused

WITH_VALUE: Final = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
"""Those of ssh's options that a value follows."""
SSH_PORT: Final = 22
PROBE_SECONDS: Final = 1.0
ATTEMPTS: Final = ("-o", "ConnectTimeout=15", "-o", "ConnectionAttempts=10")
"""After a restart an agent may answer a moment before its guest's sshd does, and a guest at work greets late."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was asked of ssh."""

    options: tuple[str, ...]
    name: str
    command: tuple[str, ...]


def ssh(
    *words: Annotated[
        str,
        Parameter(allow_leading_hyphen=True, name="NAME", completer=names_at("/v1/projects/{}/vms", "VMs")),
    ],
    user: str = "root",
    no_wait: bool = False,
    timeout: str = "15m",
    project: Project = "default",
) -> None:
    """Log in to a virtual machine by SSH once it answers, or run a command in it.

    :param words: The VM's id, then the command; none for a shell. Options of ssh, such as -i or -L, may stand before.
    :param user: The user to log in as.
    :param no_wait: Do not wait until it answers.
    :param timeout: How long to wait at most.
    """
    entry = read_entry(words)
    client = connect()
    vm = client.get(VM, project, entry.name)["VM"]
    if not no_wait and not answers(vm, ()):
        until = time.monotonic() + read_span("--timeout", timeout)
        vm = wait_until(
            client, project, entry.name, answers, outcomes=("answers", "does not answer"), until=until
        )
    enter(vm, entry, user=user)


def read_entry(words: Sequence[str]) -> Entry:
    """Tell ssh's options, the VM and the command apart as ssh does: options may also stand behind the VM."""
    left = list(words)
    before = take_options(left)
    if not left or not is_id(left[0]):
        raise Invalid("NAME is required: the VM to log in to")
    name = left.pop(0)
    return Entry((*before, *take_options(left)), name, tuple(left))


def take_options(words: list[str]) -> list[str]:
    """Take ssh's options with their values off the beginning of its words."""
    taken: list[str] = []
    while words and re.match("-[^-]", words[0]):
        option = words.pop(0)
        taken.append(option)
        place = next((place for place, letter in enumerate(option) if place and letter in WITH_VALUE), None)
        if place == len(option) - 1 and words:
            taken.append(words.pop(0))
    return taken


def answers(vm: Json, timeline: Sequence[Json]) -> bool:
    """Whether a VM runs and its guest can be entered: its port of SSH says so, or its agent once its first boot is done."""
    return is_running(vm, timeline) and (is_ready(vm, timeline) or hears_ssh(vm["externalIpAddress"]))


def hears_ssh(address: str) -> bool:
    """Whether something listens at an address for SSH."""
    if not address:
        return False
    try:
        with socket.create_connection((address, SSH_PORT), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False


def enter(vm: Json, entry: Entry, *, user: str) -> None:
    """Become ssh to the VM; Refused when it does not run, NotFound without an address or ssh."""
    if vm["state"] != "ACTIVE":
        raise Refused(
            f"VM {vm['id']!r} is {vm['state']} and must be ACTIVE to log in", reason="VM_NOT_ACTIVE"
        )
    if not vm["externalIpAddress"]:
        raise NotFound(f"VM {vm['id']!r} has no external address to connect to")
    if shutil.which("ssh") is None:
        raise NotFound("ssh is not installed on this machine; install openssh-client")
    arguments = ssh_arguments(vm, entry, user=user, identities=identities(vm), known=known_hosts(vm))
    os.execvp(arguments[0], arguments)  # noqa: S606 - a list of arguments and no shell


def ssh_arguments(vm: Json, entry: Entry, *, user: str, identities: Iterable[Path], known: Path) -> list[str]:
    """Write the command line of ssh; what was asked for comes first, for ssh takes the first word on a thing."""
    return [
        "ssh",
        *entry.options,
        *(word for identity in identities for word in ("-i", str(identity))),
        "-o",
        f"UserKnownHostsFile={known}",
        "-o",
        f"HostKeyAlias={host_alias(vm)}",
        "-o",
        "StrictHostKeyChecking=accept-new",
        "-o",
        "LogLevel=ERROR",
        *ATTEMPTS,
        "-l",
        user,
        "--",  # what follows is no option of ssh's, whatever a server calls an address
        vm["externalIpAddress"],
        *entry.command,
    ]


def identities(vm: Json) -> list[Path]:
    """Name the private keys to enter a VM with: those that it was created with here, else the one made for this machine."""
    path = identities_file(vm)
    lines = path.read_text().splitlines() if path.exists() else []
    remembered = [Path(line) for line in lines[1:]] if lines[:1] == [host_alias(vm)] else []
    made = find_identity()
    return remembered or ([made] if made else [])


def remember_identities(vm: Json, public_keys: Iterable[Path]) -> None:
    """Remember which keys a VM was created with; those whose private half lies beside them enter it."""
    private = [path.expanduser().absolute().with_suffix("") for path in public_keys if path.suffix == ".pub"]
    there = [str(path) for path in private if path.is_file()]
    if there:
        identities_file(vm).write_text("\n".join((host_alias(vm), *there, "")))


def identities_file(vm: Json) -> Path:
    """Name the file that remembers with which keys a VM was created."""
    return state_dir("identities") / file_name(vm)


def known_hosts(vm: Json) -> Path:
    """Name the file that remembers the VM's host key, without what it knew of an earlier VM of that name."""
    path = state_dir("known_hosts") / file_name(vm)
    if path.exists() and host_alias(vm) not in path.read_text():
        path.unlink()
    return path


def file_name(vm: Json) -> str:
    """Name the files of a VM's: one part of a path, whatever a server calls it."""
    return quote(f"{vm['projectId']}.{vm['id']}", safe="")


def state_dir(name: str) -> Path:
    """Name a directory of what is remembered for this user, and make it."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    path = state / "cumulet" / name
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def host_alias(vm: Json) -> str:
    """Name a VM unlike any other, earlier ones of the same name included."""
    created = re.sub(r"\D", "", vm["createTime"])
    return f"{vm['id']}.{vm['projectId']}.{created}"
