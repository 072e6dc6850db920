"""`cumulet doctor`, for a host that also builds guest images and has the disk pools of a catalogue."""

from __future__ import annotations

from collections.abc import Sequence

from cumulet.catalogue import read_catalogue
from cumulet.doctor.checks.machine import measure_pool
from cumulet.doctor.cli import doctor_app
from cumulet.doctor.findings import Finding, broken
from cumulet.errors import Invalid
from cumulet.images.recipes import HOST_PACKAGES
from cumulet.settings import Settings


def examine_pools(settings: Settings) -> Sequence[Finding]:
    """Look at the disk pools that are to be mounted here; what is wrong with the catalogue is one finding."""
    try:
        data_center = read_catalogue(settings.catalogue).data_centers[0]
    except Invalid as mistake:
        return [
            broken("catalogue", mistake.message, cure="correct that file: the server does not start with it")
        ]
    mounted = [(id, path) for id, path in data_center.pool_paths.items() if path]
    return [measure_pool(id, path, data_dir=settings.data_dir) for id, path in mounted]


app = doctor_app(HOST_PACKAGES, look=examine_pools)
