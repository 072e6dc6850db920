"""The best host for a VM of no special wishes, found by the database without a look at the others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, bindparam, func, select
from sqlalchemy.orm import Session

from cumulet.db import fetch_columns
from cumulet.hosts.inventory import HOST_DISK_GIB
from cumulet.hosts.model import CORE, Host, HostRoom, PoolRoom
from cumulet.hosts.place import Requirements
from cumulet.hosts.state import HostState


def lock_best(
    db: Session,
    data_center_id: str,
    required: Requirements,
    *,
    vcpus_per_cpu: int,
    labels: Mapping[str, str],
    packed: bool,
    only: UUID | None = None,
) -> UUID | None:
    """Find what `place` would choose of a data center's hosts, or of `only` one, and lock it; None where that takes more than their numbers.

    It is passed over while somebody else has it locked: so creates at once go to several hosts; the only one is waited for. What
    it has may have changed before the lock was there: look again. It asks for no GPUs, and for one disk.
    """
    statement = _best(tuple(sorted(labels.items())), required.pool, packed, only is not None)
    found = fetch_columns(
        db,
        statement,
        **({"only": only} if only else {}),
        data_center_id=data_center_id,
        core_parts=-(-required.vcpus * CORE // vcpus_per_cpu),
        memory_mib=required.memory_mib,
        disk_gib=required.disk_gib + HOST_DISK_GIB,
    )
    return next((host.id for host in found if not host.identity), None)


@cache
def _best(
    labels: tuple[tuple[str, str], ...],
    pool: str,
    packed: bool,  # noqa: FBT001 - a key
    is_named: bool,  # noqa: FBT001 - likewise
) -> Select[*tuple[Any, ...]]:
    """Build what finds it; there are as many as machine types and pools."""
    best_last = (HostRoom.free_memory_share, HostRoom.free_core_parts, HostRoom.name)
    taken_gib = func.coalesce(PoolRoom.taken_gib, 0)
    return (
        select(Host.id, Host.shared_pools[pool].as_string().label("identity"))
        .join(HostRoom, HostRoom.host_id == Host.id)
        .outerjoin(PoolRoom, and_(PoolRoom.host_id == Host.id, PoolRoom.pool == pool))
        .where(
            HostRoom.data_center_id == bindparam("data_center_id"),
            HostRoom.free_core_parts >= bindparam("core_parts"),
            HostRoom.free_memory_mib >= bindparam("memory_mib"),
            Host.disk_gib[pool].as_integer() - taken_gib >= bindparam("disk_gib"),
            Host.state == HostState.UP,
            Host.unheard_since.is_(None),
            *(Host.labels[name].as_string() == value for name, value in labels),
            *([Host.id == bindparam("only")] if is_named else []),
        )
        .order_by(*(best_last if packed else [column.desc() for column in best_last]))
        .limit(1)
        .with_for_update(of=Host, skip_locked=not is_named)
    )
