"""What a month of usage takes to compute: of many VMs that changed often, by the records and by the journal alone."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import msgspec
from bench.figure import CROWD, Figure, at_most, say
from bench.stage import Stage

from cumulet.db import Database, rows_of
from cumulet.events import EventName, VmData
from cumulet.journal import Event
from cumulet.migrations import migrate
from cumulet.usage.report import plan_query, usage_report
from cumulet.usage.settle import AT_ONCE, read_spans, take_over

CHANGES: Final = 10
MONTH: Final = datetime(2026, 3, 1, tzinfo=UTC)
MOST_SECONDS: Final = 1.0


def measure(stage: Stage) -> list[Figure]:
    """Let many VMs change often in a month, and add that up."""
    database = Database(f"sqlite:///{stage.folder}/usage.db")
    migrate(database)
    with database.writing() as db:
        db.execute(
            rows_of(Event).insert(), [told(vm, change) for change in range(CHANGES) for vm in range(CROWD)]
        )
    say(f"usage: {CROWD} VMs with {CHANGES} changes each")
    untaken = seconds_of_a_month(database)
    began = time.process_time()
    while True:
        with database.writing() as db:
            if take_over(db) < AT_ONCE:
                break
    taking = time.process_time() - began
    taken = seconds_of_a_month(database)
    database.close()
    what = f"a month of usage for {CROWD} VMs with {CHANGES} changes each, by resource and item: CPU"
    detail = f"records written in {taking:.2f} s"
    return [
        at_most(f"{what}, by the records", taken, MOST_SECONDS, unit="s", detail=detail),
        at_most(f"{what}, by the journal alone", untaken, MOST_SECONDS, unit="s"),
    ]


def told(vm: int, change: int) -> dict[str, object]:
    """Tell one change of one VM."""
    data = VmData(
        name=f"vm-{vm:04}",
        data_center_id="local",
        machine_type="standard",
        state="ACTIVE",
        vcpus=1 + change,
        memory_gib=2,
        vcpu_price=Decimal("0.0021"),
        memory_gib_price=Decimal("0.0035"),
        ipv4_price=Decimal("0.0038"),
        ipv4_addresses=1,
    )
    name = EventName.VM_RESIZE_REQUESTED if change else EventName.VM_STARTED
    return {
        "at": MONTH + timedelta(days=3 * change, seconds=vm),
        "project_id": "default",
        "subject": "vm",
        "subject_id": UUID(int=vm + 1),
        "event": name.value,
        "text": "",
        "data": msgspec.to_builtins(data),
        "actor": "",
        "bills": True,
    }


def seconds_of_a_month(database: Database) -> float:
    """Add the month up, in seconds of CPU."""
    query = plan_query(MONTH, MONTH + timedelta(days=31), ["resource", "item"], "")
    began = time.process_time()
    with database.reading() as db:
        report = usage_report(read_spans(db, "default", query.start, query.end), query)
    seconds = time.process_time() - began
    if len(report.rows) < CROWD:
        raise RuntimeError(f"{len(report.rows)} rows of usage for {CROWD} VMs")
    return seconds
