"""A CreateVM call with all that it is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cumulet.catalogue import Catalogue
from cumulet.images import ImageStore
from cumulet.operation import Caller
from cumulet.vms.wire import CreateVm


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """Who asks for what, when, and what there is."""

    caller: Caller
    project_id: str
    data: CreateVm
    catalogue: Catalogue
    images: ImageStore
    now: datetime
