"""Lists of VMs, in which most are as they were when they were listed last: those are not made anew.

What a VM's place in a list rests on is read as texts, one a row, of exactly the columns that it is made of; where all
are as they were, so is the VM, whoever has committed meanwhile. Only the others are read so that they can be shown.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from threading import Lock
from typing import Final, TypeAlias

from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.vms import wire
from cumulet.vms.views.queries import LISTED, Selection
from cumulet.vms.views.vm import vm_views
from cumulet.wire import encoded

Basis: TypeAlias = tuple[Catalogue, Sequence[str]]
"""All that a VM's place in a list rests on."""
MOST_KEPT: Final = 5000
"""VMs that are kept, of some 6 KB each."""
FEW: Final = 100
"""As many VMs are read one by one; more with all the others."""


class KeptVms:
    """VMs as lists show them, each with what it rested on."""

    def __init__(self, *, most: int = MOST_KEPT) -> None:
        self._most = most
        self._lock = Lock()
        self._kept: dict[Hashable, tuple[Basis, wire.Vm]] = {}

    def find(self, id: Hashable, basis: Basis) -> wire.Vm | None:
        """Give a VM if it rests on the same as it did."""
        kept = self._kept.get(id)
        return kept[1] if kept is not None and kept[0] == basis else None

    def keep(self, id: Hashable, basis: Basis, vm: wire.Vm) -> None:
        """Keep a VM; what was kept first goes first."""
        with self._lock:
            self._kept[id] = basis, vm
            if len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]


KEPT: Final = KeptVms()


def listed_vms(
    db: Session, catalogue: Catalogue, these: Selection, *, project_id: str, **values: str
) -> list[wire.Vm]:
    """List the VMs of a project that a selection means with these values, each `encoded`."""
    values["project_id"] = project_id
    bases = {name: (catalogue, texts) for name, texts in these.read_texts(db, **values).items()}
    listed = {name: KEPT.find((project_id, name), basis) for name, basis in bases.items()}
    changed = [name for name, vm in listed.items() if vm is None]
    for vm in read(db, catalogue, changed, these, **values):
        listed[vm.id] = shown = encoded(vm)
        KEPT.keep((project_id, vm.id), bases[vm.id], shown)
    return [vm for vm in listed.values() if vm is not None]


def read(
    db: Session,
    catalogue: Catalogue,
    names: Sequence[str],
    these: Selection,
    *,
    project_id: str,
    **values: str,
) -> list[wire.Vm]:
    """Read VMs of these names: few of them one by one, many with all that the selection means."""
    if len(names) > FEW:
        return vm_views(db, catalogue, these, project_id=project_id, **values)
    return [vm for name in names for vm in vm_views(db, catalogue, LISTED, project_id=project_id, name=name)]
