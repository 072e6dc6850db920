"""Writing down what a VM's reconciler saw or did: columns and timeline in one transaction, never over its owner's word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.db import fetch_columns, update_row
from cumulet.reconcile import NotYet, Run
from cumulet.vm_record import Vm

ASKED: Final = select(Vm.wanted, Vm.reboots_asked, Vm.expire_time).where(Vm.id == bindparam("id"))
"""What its owner may ask for while a run is under way."""


def change(run: Run, vm: Vm, values: Mapping[str, Any], *facts: tuple[str, str]) -> None:
    """Write columns with the facts that tell why, in one transaction; the copy at hand follows.

    NotYet when its owner asked for something else since the copy was read: what we saw must not overrule him.
    """
    with changing(run, vm, values, *facts):
        pass


@contextmanager
def changing(run: Run, vm: Vm, values: Mapping[str, Any], *facts: tuple[str, str]) -> Iterator[Session]:
    """Change it likewise, with what else belongs into that transaction."""
    with run.writing() as db:
        if overtaken(fetch_columns(db, ASKED, id=vm.id)[0], vm, values):
            raise NotYet("its owner asked for something else", 0)
        if values:
            update_row(db, Vm, vm.id, **values)
        for event, text in facts:
            tell(db, run, vm, event, text)
        yield db
    for name, value in values.items():
        setattr(vm, name, value)


def overtaken(row: Row[*tuple[Any, ...]], vm: Vm, values: Mapping[str, Any]) -> bool:
    """Whether its owner asked for something since the copy was read that these values would undo."""
    asked = ("wanted", "reboots_asked", "expire_time") if "wanted" in values else ("wanted",)
    return any(getattr(row, name) != getattr(vm, name) for name in asked)


def tell(db: Session, run: Run, vm: Vm, event: str, text: str) -> None:
    """Add a line to the VM's timeline."""
    journal.record(db, event, at=run.now, project_id=vm.project_id, subject_id=vm.id, text=text)
