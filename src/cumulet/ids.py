"""The ids that people choose: one rule for all that projects name, so that none needs quoting in a path or a shell; and addresses."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from cumulet.errors import Invalid

MOST: Final = 63
"""Characters: a label of a DNS name."""


def is_id(text: str, *, most: int = MOST) -> bool:
    """Whether a text keeps to the rule."""
    return len(text) <= most and re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", text) is not None


def check_id(field: str, value: str, *, most: int = MOST) -> None:
    """Refuse an id that is out of the rule."""
    if not is_id(value, most=most):
        accepted = f"1 to {most} of a-z, 0-9 and '-', beginning with a letter, not ending with '-'"
        raise Invalid.field(field, value, accepted)


def neighbourhood(address: str) -> str:
    """Give the IP address by which callers are told apart: of IPv6 the network of 2^64, which one subscriber has."""
    if ":" not in address:
        return address
    try:
        read = IPv6Address(address)
    except ValueError:
        return address
    return str(read.ipv4_mapped or IPv6Network((int(read), 64), strict=False))
