"""How much may pile up, and how much a project may have: what an operator can set of it, in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from msgspec import Meta

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Most = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Days = Annotated[int, Meta(ge=1, le=36_500)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds and times to keep."""

    ssh_keys_per_user: Count = 100
    api_keys_per_user: Count = 100
    projects_per_user: Count = 100
    """That somebody made and that are there still."""
    members_per_project: Count = 1000
    invitation_days: Days = 7
    """How long somebody has to accept."""
    requests_per_second: Count = 200
    """Of one API key, or of one address without a key; on one server."""
    requests_at_once: Count = 2000
    """How many of them may come together after a pause."""
    consoles_per_vm: Count = 8
    consoles_per_user: Count = 32
    """Open at once, on one server."""
    streams_per_user: Count = 32
    """Of events, open at once, on one server."""
    webhooks_per_project: Count = 20
    security_groups_per_project: Count = 500
    """Each is in the network's database, whether it has rules or not."""
    waiting_vms_per_user: Count = 100
    """In one data center. Whoever asks for room there looks at all that wait for it."""
    journal_days: Days = 365
    """How long the journal tells of what bills nobody."""
    audit_days: Days = 365
    """How long the audit tells of what was asked."""
    console_log_days: Days = 7
    """How long the console output of a VM that is gone can be read."""
    console_logs_per_project: Count = 50
    """Of VMs that are gone; the newest stay."""
    sample_days: Days = 31
    """How long it is known what VMs used; the last day of it in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """The most that a project may have where its operator set nothing else; None for no limit.

    What takes room on hosts ends with the room; what takes none is bounded.
    """

    vms: Most | None = None
    vcpus: Most | None = None
    memory_gib: Most | None = None
    disk_gib: Most | None = None
    """Of boot and storage disks together."""
    snapshots: Most | None = None
    gpus: Most | None = None
    """Of all models together."""
    gpus_by_model: Mapping[str, Most] = field(default_factory=dict)
    external_addresses: Most | None = None
    """Of VMs."""
    images: Most | None = None
    """Private ones."""
    networks: Most | None = 100
    rules: Most | None = 2_000
    """In all security groups together."""


USUAL: Final = Limits()
"""What counts where an operator says nothing."""
