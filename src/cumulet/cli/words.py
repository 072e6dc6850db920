"""The kinds of words that commands take: ids, whole numbers, sizes. What is none is refused before anything is called."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from cumulet.errors import Invalid

if TYPE_CHECKING:
    from cyclopts import Token
    from cyclopts.completion import CompletionContext

SIZES: Final = {"": 1, "g": 1, "gib": 1, "t": 1024, "tib": 1024}
"""GiB in the units that a size may be given in."""
TEXTS: Final = frozenset({"--description", "--first-name", "--last-name", "--reason"})
"""Options for people's words, which may be none."""
PROJECT_VARIABLE: Final = "CUMULET_PROJECT"
COMPLETION_SECONDS: Final = 2.0
"""How long somebody who pressed Tab waits for a cloud that does not answer."""


def identifier(what: str, path: str = "", member: str = "") -> Parameter:
    """Describe the id of a thing; the list at `path` of the API, under `member`, completes it."""
    return Parameter(help=what, validator=check_id, completer=names_at(path, member) if path else None)


def check_id(_: object, given: str | Iterable[str] | None) -> None:
    """Refuse what cannot be one part of a path: a call would act on something else."""
    if not all(map(is_id, (given,) if isinstance(given, str) else given or ())):
        raise ValueError("Not an id.")


def is_id(text: str) -> bool:
    """Whether a text can name a thing in a path."""
    return text not in {"", ".", ".."}


def refuse_empty(words: Sequence[str]) -> None:
    """Refuse an option that is given an empty word, mostly by a script's variable without a value: Invalid.

    To leave an option out is something else: every address, any network, no end. What ssh is given is for ssh to read.
    """
    ours = list(itertools.takewhile(lambda word: word != "--", words))
    if ours[:2] == ["vm", "ssh"]:
        return
    apart = (pair for pair in itertools.pairwise(ours) if pair[0].startswith("-"))
    joined = (word.partition("=")[::2] for word in ours if word.startswith("--") and "=" in word)
    for option, given in (*apart, *joined):
        if not given and option not in TEXTS:
            raise Invalid.field(option, given, "a word; leave the option out if nothing is meant by it")


def whole_number(_: object, tokens: Sequence[Token]) -> int:
    """Read digits and nothing else."""
    given = tokens[0].value
    if not re.fullmatch("[0-9]{1,9}", given):
        raise ValueError(f"{given!r} is not accepted; expected a whole number, such as 2")
    return int(given)


def whole_gib(_: object, tokens: Sequence[Token]) -> int:
    """Read a size in GiB, or in TiB with that unit."""
    given = tokens[0].value
    parts = re.fullmatch("([0-9]{1,9})([a-z]*)", given.lower())
    if parts is None or parts[2] not in SIZES:
        raise ValueError(
            f"{given!r} is not accepted; expected whole GiB or TiB, such as 20, 20G, 20GiB or 2T"
        )
    return int(parts[1]) * SIZES[parts[2]]


def instant(_: object, tokens: Sequence[Token]) -> datetime:
    """Read an instant; one without a zone is in the reader's own."""
    given = tokens[0].value
    try:
        return datetime.fromisoformat(given).astimezone()
    except (ValueError, OverflowError):
        accepted = "a date, or a date and a time, such as 2026-01-02T03:04:05"
        raise ValueError(f"{given!r} is not accepted; expected {accepted}") from None


def names_at(path: str, member: str) -> Callable[[CompletionContext], list[str]]:
    """Complete the names of a list of the API; where it does not answer, there are none."""

    def complete(context: CompletionContext) -> list[str]:
        from cumulet.cli.client import connect  # noqa: PLC0415 - only somebody who pressed Tab needs it

        project = context.get("project")
        ids = (project.value,) if project and "{}" in path else ()
        found = connect(seconds=COMPLETION_SECONDS).list(path, *ids, member=member)
        return [str(one.get("id") or one.get("machineType")) for one in found]

    return complete


def context_names(_: CompletionContext) -> list[str]:
    """Complete the names of contexts."""
    from cumulet.cli.config import read_config  # noqa: PLC0415 - likewise

    return list(read_config().contexts)


ContextName = Annotated[str, Parameter(validator=check_id, completer=context_names)]
AnyContext = Annotated[str | None, Parameter(validator=check_id, completer=context_names)]
"""Likewise, where none need be named."""
Count = Annotated[int, Parameter(converter=whole_number)]
Gib = Annotated[int, Parameter(converter=whole_gib)]
Instant = Annotated[datetime, Parameter(converter=instant)]
Project = Annotated[
    str, Parameter(env_var=PROJECT_VARIABLE), identifier("The project.", "/v1/projects", "projects")
]
VmName = Annotated[str, identifier("The VM's id.", "/v1/projects/{}/vms", "VMs")]
VmNames = Annotated[str, Parameter(name="MORE"), identifier("Further VMs.", "/v1/projects/{}/vms", "VMs")]
DiskName = Annotated[str, identifier("The disk's id.", "/v1/projects/{}/disks", "disks")]
DiskNames = Annotated[
    str, Parameter(name="MORE"), identifier("Further disks.", "/v1/projects/{}/disks", "disks")
]
GroupName = Annotated[
    str, identifier("The security group's id.", "/v1/projects/{}/security-groups", "securityGroups")
]
GroupNames = Annotated[
    str,
    Parameter(name="MORE"),
    identifier("Further security groups.", "/v1/projects/{}/security-groups", "securityGroups"),
]
NetworkName = Annotated[str, identifier("The network's id.", "/v1/projects/{}/networks", "networks")]
NetworkNames = Annotated[
    str, Parameter(name="MORE"), identifier("Further networks.", "/v1/projects/{}/networks", "networks")
]
PrivateImage = Annotated[str, identifier("The image's id.", "/v1/projects/{}/images", "images")]
PrivateImages = Annotated[
    str, Parameter(name="MORE"), identifier("Further images.", "/v1/projects/{}/images", "images")
]
NewId = Annotated[str, identifier("Its id.")]
