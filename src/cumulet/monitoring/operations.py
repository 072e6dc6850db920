"""What a VM did, as a series."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.monitoring.model import Samples
from cumulet.monitoring.series import QUARTER, STEP, Sample, series, unpack
from cumulet.monitoring.wire import MonitorVmResponse
from cumulet.operation import Access, operation
from cumulet.vm_record import find_vm
from cumulet.wire import utc

DAY: Final = timedelta(days=1)


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
