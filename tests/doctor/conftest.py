"""What the doctor's tests share: waiting for something to come true, and the one private host they work on."""

import os
from collections.abc import Iterator

import pytest

from cumulet.doctor.daemons import stop_daemons
from cumulet.doctor.prepare import PreparedHost, prepare_host


@pytest.fixture
def bare_host() -> Iterator[None]:
    """A private host where nothing of ours runs."""
    assert "LAB_DIR" in os.environ, "this test changes its host: run it by tests/lab/enter"
    stop_daemons()
    yield
    stop_daemons()


@pytest.fixture
def host() -> PreparedHost:
    """A private host, prepared."""
    assert "LAB_DIR" in os.environ, "this test changes its host: run it by tests/lab/enter"
    return prepare_host()
