"""`cumulet vm metadata | expire | protect | password | authorize`: changing a virtual machine that is there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from cumulet.cli.client import connect
from cumulet.cli.create import Term, label, read_password, term_of
from cumulet.cli.follow import VM, read_span
from cumulet.cli.keys import find_public_keys, read_public_keys
from cumulet.cli.output import Format, aligned, local_time, show_data, write
from cumulet.cli.several import each
from cumulet.cli.words import Instant, Project, VmName, VmNames
from cumulet.errors import Invalid

CHANGE: Final = "/v1/projects/{}/vm/{}/"


def metadata(
    name: VmName,
    /,
    *labels: Annotated[str, Parameter(name="LABEL")],
    remove: tuple[str, ...] = (),
    replace: bool = False,
    output: Format = "table",
    project: Project = "default",
) -> None:
    """Show, add or remove a virtual machine's labels.

    :param labels: KEY=VALUE; none only shows those that are there.
    :param remove: The key of a label to remove; repeatable.
    :param replace: Put these labels in the place of all others.
    """
    client, wanted = connect(), dict(label(text) for text in labels)
    if remove:
        there = {} if replace else client.get(VM, project, name)["VM"]["metadata"]
        wanted = {key: value for key, value in (there | wanted).items() if key not in remove}
    body = {"metadata": wanted, "merge": not (replace or remove)}
    found = client.post(CHANGE + "metadata", project, name, body=body)["metadata"]
    if output in {"json", "yaml"}:
        show_data(found, output)
    elif output == "name":
        write("".join(f"{key}\n" for key in found))
    elif found:
        write(aligned(list(found.items())))


def expire(
    name: VmName, /, *, ttl: str = "", at: Instant | None = None, project: Project = "default"
) -> None:
    """Set when a virtual machine is deleted.

    :param ttl: How long from now, as in 90m or 2d.
    :param at: When.
    """
    body = {
        "ttl": f"{read_span('--ttl', ttl):.0f}s" if ttl else "",
        "expireTime": at.isoformat() if at else None,
    }
    if not ttl and not at:
        raise Invalid("--ttl or --at: one of them is required")
    expiry = connect().post(CHANGE + "expire-time", project, name, body=body)["expireTime"]
    write(f"{name} will be deleted at {local_time(expiry)}\n")


def commit(name: VmName, term: Term, /, *, project: Project = "default") -> None:
    """Commit a virtual machine to a term from now on, at the prices of that term; until its end it cannot be deleted.

    :param term: For how long; `cumulet machine-type prices` shows what each costs.
    """
    connect().post(CHANGE + "commit", project, name, body={"commitmentTerm": term_of(term)})


def protect(name: VmName, /, *more: VmNames, project: Project = "default") -> None:
    """Protect virtual machines from deletion."""
    set_protection((name, *more), project, protected=True)


def unprotect(name: VmName, /, *more: VmNames, project: Project = "default") -> None:
    """Let virtual machines be deleted again; one whose time was over meanwhile is deleted at once."""
    set_protection((name, *more), project, protected=False)


def set_protection(names: Iterable[str], project: str, *, protected: bool) -> None:
    """Say of virtual machines whether they are protected from deletion."""
    client, body = connect(), {"deletionProtection": protected}
    each(names, lambda vm: client.post(CHANGE + "deletion-protection", project, vm, body=body))


def password(
    name: VmName,
    /,
    *,
    password_file: Path | None = None,
    password_stdin: bool = False,
    project: Project = "default",
) -> None:
    """Change root's password in a running virtual machine; its guest agent sets it a moment later.

    :param password_file: A file with the password.
    :param password_stdin: Read the password from stdin.
    """
    found = read_password(password_file, from_stdin=password_stdin)
    if not found:
        raise Invalid("--password-stdin or --password-file: one of them is required")
    connect().post(CHANGE + "password", project, name, body={"password": found})


def authorize(
    name: VmName,
    /,
    *,
    ssh_key: tuple[Path, ...] | None = None,
    ssh_key_source: Literal["user", "project", "none"] = "user",
    project: Project = "default",
) -> None:
    """Set the SSH keys that may log in to a running virtual machine; its guest agent changes them a moment later.

    :param ssh_key: Files of public keys that may log in as root; repeatable. Without: those in ~/.ssh.
    :param ssh_key_source: Whose keys stored in the cloud may log in as well; `none` also leaves out those in ~/.ssh.
    """
    own = () if ssh_key_source == "none" else find_public_keys()
    body = {
        "sshKeySource": f"SSH_KEY_SOURCE_{ssh_key_source.upper()}",
        "customSshKeys": read_public_keys(own if ssh_key is None else ssh_key),
    }
    connect().post(CHANGE + "authorized-ssh-keys", project, name, body=body)
