"""A form of the pages as the command line, curl and Python have it: whoever saw it here can have a program do it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cumulet.web.visit import Visit

SECRETS: Final = frozenset({"password", "startScript"})
"""What is not written into commands, which others may read over a shoulder."""
OPTIONS: Final[Mapping[str, str]] = {
    "bootDiskImageId": "--image",
    "vcpus": "--vcpus",
    "memoryGib": "--memory",
    "bootDiskSizeGib": "--disk",
    "gpus": "--gpus",
    "dataCenterId": "--data-center",
    "machineType": "--machine-type",
    "ttl": "--ttl",
}


@dataclass(frozen=True, slots=True)
class Command:
    """The same for one kind of program."""

    name: str
    text: str


def same_for_programs(visit: Visit, raw: Mapping[str, Any]) -> Sequence[Command]:
    """Write a CreateVM for each kind."""
    body = {name: "…" if name in SECRETS else value for name, value in raw.items()}
    numbers = {"vcpus", "memoryGib", "bootDiskSizeGib", "gpus"}
    body = {
        name: int(value) if name in numbers and str(value).isdecimal() else value
        for name, value in body.items()
    }
    sent = json.dumps(body, indent=2, ensure_ascii=False)
    url = f"{visit.origin}/v1/projects/{visit.project_id}/vm"
    curl = f'curl {url} \\\n  -H "Authorization: Bearer $CUMULET_API_KEY" \\\n  -d {shlex.quote(sent)}'
    python = (
        "import httpx, os\n\n"
        f"httpx.post({url!r},\n"
        '    headers={"Authorization": "Bearer " + os.environ["CUMULET_API_KEY"]},\n'
        f"    json={body!r})"
    )
    return (Command("CLI", command_line(visit, raw)), Command("curl", curl), Command("Python", python))


def command_line(visit: Visit, raw: Mapping[str, Any]) -> str:
    """Write it for a shell."""
    words = ["cumulet vm create", shlex.quote(str(raw.get("vmId", "NAME")))]
    words += [f"{option} {shlex.quote(str(raw[name]))}" for name, option in OPTIONS.items() if name in raw]
    words += [
        f"--metadata {shlex.quote(f'{name}={value}')}" for name, value in raw.get("metadata", {}).items()
    ]
    nics = raw.get("nics", [])
    words += [f"--nic {one['networkId']}{':public' if one['assignPublicIp'] else ''}" for one in nics]
    groups = nics[0]["securityGroupIds"] if nics else raw.get("securityGroupIds", [])
    words += [f"--security-group {one}" for one in groups]
    source = str(raw["sshKeySource"]).removeprefix("SSH_KEY_SOURCE_").lower()
    words += [f"--ssh-key-source {source}"] if source != "user" else []
    words += ["--start-script-file FILE"] if "startScript" in raw else []
    words += ["--password-stdin"] if "password" in raw else []
    words += ["--protect"] if raw.get("deletionProtection") else []
    return " \\\n  ".join([" ".join(words[:2]), *words[2:], f"--project {visit.project_id} --wait"])
