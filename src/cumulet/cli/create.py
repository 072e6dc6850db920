"""From the words of `cumulet vm create` to the request: what is left out is filled in from the cloud and from home."""

from __future__ import annotations

import base64
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from getpass import getpass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from cumulet.cli.client import Client, Json
from cumulet.cli.follow import read_span
from cumulet.cli.keys import find_public_keys, read_public_keys
from cumulet.cli.progress import Progress
from cumulet.cli.words import Count, Gib, Instant, names_at
from cumulet.errors import Invalid, NotFound

StorageClass: TypeAlias = Literal["local", "network"]
Term: TypeAlias = Literal[
    "1-month", "3-months", "6-months", "12-months", "24-months", "36-months", "60-months"
]
"""Of commitment; a data center sells some of them."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """What the VM is to be."""

    image: Annotated[str, Parameter(completer=names_at("/v1/vms/public-images", "images"))] = "debian-12"
    """The image to boot from."""
    vcpus: Count = 1
    """How many vCPUs."""
    memory: Gib = 1
    """How much memory: 4 or 4GiB."""
    disk: Gib = 10
    """The size of the boot disk: 20 or 20GiB, or 2TiB."""
    gpus: Count = 0
    """How many GPUs."""
    gpu_model: Annotated[str, Parameter(completer=names_at("/v1/vms/gpu-models", "gpuModels"))] = ""
    """Which GPUs, by the model's id or name."""
    storage_class: StorageClass | None = None
    """Its storage class. Without: the data center's first."""
    storage_disk: Annotated[
        tuple[str, ...], Parameter(completer=names_at("/v1/projects/{}/disks", "disks"))
    ] = ()
    """A storage disk to attach; repeatable."""
    ssh_key: tuple[Path, ...] | None = None
    """Files of public keys that may log in as root; repeatable. Without: those in ~/.ssh."""
    ssh_key_source: Literal["user", "project", "none"] = "user"
    """Whose keys stored in the cloud may log in as well; `none` also leaves out those in ~/.ssh."""
    start_script: str = ""
    """Commands that the guest runs at its first boot. Others can see them in the process list: secrets go in a file."""
    start_script_file: Annotated[Path | None, Parameter(name=("--start-script-file", "--user-data"))] = None
    """A file of such commands, or of other user data for cloud-init: a cloud-config, a MIME message, either in gzip."""
    password_file: Path | None = None
    """A file with root's password for the console."""
    password_stdin: bool = False
    """Read root's password from stdin."""
    metadata: tuple[str, ...] = ()
    """A label, KEY=VALUE; repeatable."""
    nic: Annotated[
        tuple[str, ...], Parameter(completer=names_at("/v1/projects/{}/networks", "networks"))
    ] = ()
    """A NIC on one of the project's networks, NETWORK or NETWORK:public for one with an external address; repeatable.

    Without: one on the project's default network, with an external address.
    """
    security_group: Annotated[
        tuple[str, ...], Parameter(completer=names_at("/v1/projects/{}/security-groups", "securityGroups"))
    ] = ()
    """A security group that all its NICs get; repeatable."""
    data_center: Annotated[str, Parameter(completer=names_at("/v1/vms/data-centers", "dataCenters"))] = ""
    """Where it runs; needed only where there are several."""
    machine_type: Annotated[str, Parameter(completer=names_at("/v1/vms/machine-types-2", "machineTypes"))] = (
        ""
    )
    """Its machine type. Without: the data center's first, of those with such GPUs if some are asked for."""
    topology: str = ""
    """How its vCPUs are arranged: SOCKETSxCORESxTHREADS."""
    ttl: str = ""
    """For how long it lives, as in 90m or 2d; then it is deleted."""
    expire: Instant | None = None
    """When it is deleted."""
    commitment: Term | None = None
    """Commit it to a term, at the prices of that term: until its end it cannot be deleted."""
    protect: bool = False
    """Protect it from deletion."""
    queue: bool = False
    """Where there is no room, wait for some."""
    deadline: str = ""
    """How long to wait for room, as in 30m or 12h; without it an hour."""
    validate_only: bool = False
    """Only check and price it."""


def create_body(client: Client, name: str, options: CreateOptions) -> Json:
    """Write the request; Invalid and NotFound tell what is wrong with what was given here."""
    data_center = options.data_center or only_data_center(client)
    return {
        "vmId": name,
        "dataCenterId": data_center,
        "machineType": choose_machine_type(client, data_center, options),
        "bootDiskImageId": options.image,
        "bootDisk": {"storageClass": class_of(options.storage_class)},
        "bootDiskSizeGib": options.disk,
        "storageDiskIds": list(options.storage_disk),
        "vcpus": options.vcpus,
        "memoryGib": options.memory,
        "gpus": options.gpus,
        "sshKeySource": f"SSH_KEY_SOURCE_{options.ssh_key_source.upper()}",
        "customSshKeys": chosen_keys(options),
        "startScript": start_script(options),
        "password": read_password(options.password_file, from_stdin=options.password_stdin),
        "nics": [nic(text, options.security_group) for text in options.nic],
        "securityGroupIds": options.security_group,
        "metadata": dict(label(text) for text in options.metadata),
        "topology": topology(options.topology) if options.topology else None,
        "ttl": f"{read_span('--ttl', options.ttl):.0f}s" if options.ttl else "",
        "expireTime": options.expire.isoformat() if options.expire else None,
        "commitmentTerm": term_of(options.commitment),
        "deletionProtection": options.protect,
        "queue": options.queue,
        "queueDeadline": queue_deadline(options),
        "validateOnly": options.validate_only,
    }


def queue_deadline(options: CreateOptions) -> str | None:
    """Say until when room is waited for; Invalid where it is not."""
    if not options.deadline:
        return None
    if not options.queue:
        raise Invalid("--deadline: only with --queue")
    return (datetime.now(UTC) + timedelta(seconds=read_span("--deadline", options.deadline))).isoformat()


def nic(text: str, groups: tuple[str, ...]) -> Json:
    """Read NETWORK or NETWORK:public; Invalid shows how it looks."""
    network, _, public = text.partition(":")
    if not network or public not in {"", "public"}:
        raise Invalid.field("--nic", text, "NETWORK or NETWORK:public")
    return {"networkId": network, "assignPublicIp": bool(public), "securityGroupIds": groups}


def term_of(term: Term | None) -> str:
    """Write a term of commitment, or none."""
    return f"COMMITMENT_TERM_{(term or 'none').upper().replace('-', '_')}"


def class_of(storage_class: StorageClass | None) -> str:
    """Write a storage class, or that none is asked for."""
    return f"STORAGE_CLASS_{(storage_class or 'unknown').upper()}"


def only_data_center(client: Client) -> str:
    """Name the data center when there is one only."""
    return the_only("--data-center", [one["id"] for one in client.get("/v1/vms/data-centers")["dataCenters"]])


def the_only(option: str, found: list[str]) -> str:
    """Choose where there is no choice; Invalid names what there is."""
    if len(found) != 1:
        raise Invalid(f"{option} is required; there are {', '.join(found) or 'none'}")
    return found[0]


def choose_machine_type(client: Client, data_center: str, options: CreateOptions) -> str:
    """Name the machine type that was asked for, or the data center's first that fits; NotFound when none does."""
    if options.machine_type and not options.gpu_model:
        return options.machine_type
    types = [
        one
        for one in client.get("/v1/vms/machine-types-2")["machineTypes"]
        if one["dataCenterId"] == data_center and options.machine_type in {"", one["machineType"]}
    ]
    fitting = [one for one in types if has_gpus(one, options)]
    if not fitting and options.gpu_model:
        raise NotFound.named("machine type with GPU model", options.gpu_model, sorted({*gpu_ids(types)}))
    if not fitting:
        raise NotFound.named("data center with such machine types", data_center)
    return str(fitting[0]["machineType"])


def has_gpus(machine_type: Json, options: CreateOptions) -> bool:
    """Whether a machine type has the GPUs that were asked for, or none when none were."""
    if options.gpu_model:
        return options.gpu_model in {machine_type["gpuModelId"], machine_type["gpuModel"]}
    return bool(machine_type["gpuModelId"]) is bool(options.gpus)


def gpu_ids(machine_types: list[Json]) -> list[str]:
    """Give the ids of the GPU models that there are."""
    return [one["gpuModelId"] for one in machine_types if one["gpuModelId"]]


def chosen_keys(options: CreateOptions) -> list[str]:
    """Read the public keys that were named, or the user's own."""
    if options.ssh_key is not None:
        return read_public_keys(options.ssh_key)
    return [] if options.ssh_key_source == "none" else read_public_keys(find_public_keys())


def warn_without_keys(vm: Json, options: CreateOptions) -> None:
    """Say so when nobody can enter a VM, unless that was asked for."""
    chosen = options.ssh_key_source == "none" or options.password_file or options.password_stdin
    if not (chosen or vm["authorizedSshKeys"]):
        Progress().say(
            f"nobody can log in to {vm['id']} by SSH: there is no key in ~/.ssh and none stored in the cloud; once it runs, "
            f"`cumulet vm authorize {vm['id']} --ssh-key FILE` adds one"
        )


def start_script(options: CreateOptions) -> str:
    """Read the start script from where it was given."""
    if options.start_script_file is None:
        return options.start_script
    if options.start_script:
        raise Invalid("--start-script and --start-script-file: give only one of them")
    return read_user_data(options.start_script_file)


def read_password(file: Path | None, *, from_stdin: bool) -> str:
    """Read the password from where it was given; never from the arguments, which all can see."""
    if from_stdin:
        if file:
            raise Invalid("--password-stdin and --password-file: give only one of them")
        return getpass("password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if file:
        return read_file("--password-file", file).rstrip("\r\n")
    return ""


def read_user_data(path: Path) -> str:
    """Read user data: what is no text, as gzip is none, is told in base64."""
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise Invalid(f"--user-data: cannot read {str(path)!r}: {problem.strerror}") from None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return base64.b64encode(content).decode()


def read_file(option: str, path: Path) -> str:
    """Read a file that an option names; Invalid says why it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise Invalid(f"{option}: cannot read {str(path)!r}: {reason}") from None


def label(text: str) -> tuple[str, str]:
    """Read KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise Invalid.field("--metadata", text, "KEY=VALUE")
    return key, value


def topology(text: str) -> Json:
    """Read SOCKETSxCORESxTHREADS."""
    parts = re.fullmatch("([0-9]{1,4})x([0-9]{1,4})x([0-9]{1,4})", text)
    if not parts:
        raise Invalid.field("--topology", text, "SOCKETSxCORESxTHREADS, for example 1x2x1")
    return dict(zip(("sockets", "cores", "threads"), map(int, parts.groups()), strict=True))
