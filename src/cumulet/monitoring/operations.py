"""What a VM did, as a series."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.orm import Session

from cumulet.monitoring.model import Samples
from cumulet.monitoring.series import FORMAT, GAP, QUARTER, STEP, Sample, series, unpack
from cumulet.monitoring.wire import ListVmUsageResponse, MonitorVmResponse, VmUsage
from cumulet.operation import Access, operation
from cumulet.vm_record import Vm, find_vm
from cumulet.wire import utc

DAY: Final = timedelta(days=1)
TWO: Final = 2 * FORMAT.size
"""Bytes of the samples between which one item lies."""
LENGTH: Final = func.length(Samples.packed)
LAST: Final = (
    select(Vm.name, case((LENGTH > TWO, func.substr(Samples.packed, LENGTH - TWO + 1)), else_=Samples.packed))
    .join(Vm, Vm.id == Samples.vm_id)
    .where(Vm.project_id == bindparam("project_id"), Samples.begins > bindparam("before"))
    .order_by(Samples.begins)
)
"""The last two samples of the last two quarters of an hour, of each VM."""


@operation("GET /v1/projects/{projectId}/vms/{id}/monitor", access=Access.VIEWER)
def monitor_vm(
    db: Session, *, now: datetime, project_id: str, id: str, since: datetime | None = None
) -> MonitorVmResponse:
    """Show a virtual machine's resource usage: by default of the last day, an item for each half minute that it ran.

    `since` looks back further, at most a month; what is older than a day has an item for each quarter of an hour.
    """
    vm = find_vm(db, project_id=project_id, id=id)
    begin = int((utc(since) if since else now - DAY).timestamp())
    return MonitorVmResponse(items=series(samples_since(db, vm.id, begin)))


@operation("GET /v1/projects/{projectId}/vms:monitor", access=Access.VIEWER)
def list_vm_usage(db: Session, *, now: datetime, project_id: str) -> ListVmUsageResponse:
    """List what each of a project's virtual machines used in the last half minute, of those that run, by id."""
    at = int(now.timestamp())
    last: dict[str, bytes] = {}
    for name, packed in db.execute(
        LAST, {"project_id": project_id, "before": at - at % QUARTER - 2 * QUARTER}
    ):
        last[name] = last.get(name, b"") + packed
    items = {name: series([(sample, STEP) for sample in unpack(packed)]) for name, packed in last.items()}
    fresh = {name: of[-1] for name, of in items.items() if of and at - int(of[-1].timestamp) <= STEP * GAP}
    return ListVmUsageResponse(vms=[VmUsage(id=name, item=item) for name, item in sorted(fresh.items())])


def samples_since(db: Session, vm_id: UUID, begin: int) -> Iterator[tuple[Sample, int]]:
    """Read a VM's samples from a moment on, each with the seconds that usually lie before it."""
    found = select(Samples.thinned, Samples.packed).where(
        Samples.vm_id == vm_id, Samples.begins > begin - QUARTER
    )
    for thinned, packed in db.execute(found.order_by(Samples.begins)):
        usual = QUARTER if thinned else STEP
        for sample in unpack(packed):
            if sample.at >= begin:
                yield sample, usual
