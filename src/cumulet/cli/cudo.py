"""Reading a `cudo.yml`, where clients of the contract keep their keys."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cumulet.cli.config import Context
from cumulet.errors import Invalid


class CudoKey(msgspec.Struct, frozen=True):
    """A key by its name."""

    name: str
    key: str


class CudoContext(msgspec.Struct, frozen=True):
    """A context: the name of its key, and its project."""

    name: str
    key: str
    project: str = ""


class CudoFile(msgspec.Struct, frozen=True, rename="kebab"):
    """The file, as far as it concerns us."""

    contexts: list[CudoContext]
    keys: list[CudoKey]
    config_version: str = msgspec.field(name="configVersion")
    current_context: str = ""


def read_cudo_file(path: Path, url: str) -> tuple[dict[str, Context], str]:
    """Read its contexts, as ones that lead to a URL, and which is the current one; Invalid when it is no such file."""
    try:
        found = msgspec.yaml.decode(path.read_bytes(), type=CudoFile)
    except OSError as problem:
        raise Invalid(f"cannot read {path}: {problem.strerror}") from None
    except msgspec.MsgspecError as problem:
        raise Invalid(f"{path} is no cudo.yml: {problem}") from None
    if found.config_version != "v0":
        raise Invalid.field(f"configVersion of {path}", found.config_version, "v0")
    keys = {one.name: one.key for one in found.keys}
    if lacking := [one for one in found.contexts if one.key not in keys]:
        raise Invalid(f"{path}: the context {lacking[0].name!r} has a key that is not there")
    contexts = {one.name: Context(url=url, key=keys[one.key], project=one.project) for one in found.contexts}
    return contexts, found.current_context
