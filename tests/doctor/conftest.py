"""What the doctor's tests share: waiting for something to come true, and the one private host they work on."""

import os
import time
from collections.abc import Callable, Iterator

import pytest

from cumulet.doctor.daemons import stop_daemons
from cumulet.doctor.prepare import PreparedHost, prepare_host


def eventually(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return as soon as the condition holds; fail when it does not come to."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.02)


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
