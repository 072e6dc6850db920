"""A cloud of made-up hosts for programs that were written for the public one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.rest.conftest import serving

from cumulet.db import Database
from cumulet.serve.build import build
from cumulet.serve.run import started
from cumulet.settings import read_settings


@dataclass(frozen=True)
class Endpoint:
    """What a user of such a program puts into its settings."""

    url: str
    key: str
    database: Database
    """What the server has; no user sees it."""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory) -> Iterator[Endpoint]:
    folder: Path = tmp_path_factory.mktemp("cloud")
    settings = {
        "CUMULET_DATA_DIR": str(folder),
        "CUMULET_HYPERVISOR": "memory:?hosts=2&vcpus=16&memory_gib=64",
    }
    cloud = build(read_settings(settings))
    with started(cloud), serving(cloud.app) as url:
        yield Endpoint(url, (folder / "admin.key").read_text().strip(), cloud.database)
