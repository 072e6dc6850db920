"""Signing in with an identity provider as JSON; no version of the contract has it."""

from __future__ import annotations

from cumulet.wire import Wire


class WaysIn(Wire):
    """What the identity provider is called; empty without one."""

    identity_provider: str


class BegunSso(Wire):
    """Where a browser goes, and what it keeps meanwhile."""

    url: str
    secret: str


class FinishSso(Wire):
    """What the provider sent the browser back with, and what the browser kept."""

    code: str
    state: str
    secret: str
