"""Specs as JSON, as a row carries the one it was made from."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from cumulet.fabric import GroupSpec, IpProtocol, RuleSpec

LONG: Final = 10_000
"""Characters from which a spec is not kept decoded: a group of a thousand rules is a megabyte."""

S = TypeVar("S")


def encode_spec(spec: object) -> str:
    """A spec as JSON, always the same for the same spec: a set has no order of its own."""
    return msgspec.json.encode(spec, enc_hook=str, order="deterministic").decode()


def decode_spec(text: str, kind: type[S]) -> S | None:
    """A spec from its JSON; None when somebody has changed it into something else."""
    decode = _decode if len(text) < LONG else _decode.__wrapped__
    spec = decode(text, kind)  # type: ignore[arg-type]  # a class can be hashed
    return spec if isinstance(spec, kind) else None


@lru_cache(maxsize=100_000)
def _decode(text: str, kind: Hashable) -> object:
    """Decode each text once: the specs of all ports of a project are looked at whenever one of them comes or goes."""
    try:
        if kind is GroupSpec:
            return _read_group(msgspec.json.decode(text))
        return msgspec.json.decode(text, type=kind, dec_hook=_read_address)
    except (msgspec.MsgspecError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _read_group(stored: Any) -> GroupSpec:  # noqa: ANN401 - JSON
    """A group; msgspec does not know a field with one of two types that are foreign to it, as a rule's peer is."""
    return GroupSpec(UUID(stored["id"]), tuple(_read_rule(**rule) for rule in stored["rules"]))


def _read_rule(*, protocol: str, ports: list[list[int]], peer: str | None, **others: Any) -> RuleSpec:  # noqa: ANN401
    """A rule."""
    return RuleSpec(
        protocol=IpProtocol(protocol),
        ports=tuple((first, last) for first, last in ports),
        peer=None if peer is None else ip_network(peer),
        **others,
    )


def _read_address(kind: type, text: str) -> object:
    """The types that msgspec does not know."""
    if kind not in (IPv4Address, IPv4Network, IPv6Network):
        raise NotImplementedError(kind)
    return kind(text)
