"""`cumulet vm console` at a real guest."""

import os
import subprocess
import sys

import pytest
from tests.e2e.real_cloud import URL
from tests.waiting import eventually

pytestmark = [pytest.mark.lab, pytest.mark.guest]


@pytest.fixture
def seat(cloud, ann):
    key = cloud.api.headers["Authorization"].removeprefix("Bearer ")
    argv = (sys.executable, "-m", "cumulet", "vm", "console", ann.name)
    environment = {"CUMULET_URL": URL, "CUMULET_API_KEY": key}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(argv, env={**os.environ, **environment}, **pipes) as seat:
        os.set_blocking(seat.stdout.fileno(), False)
        yield seat
        seat.kill()


def test_a_guest_asks_who_is_there_and_ctrl_bracket_leaves_it(seat):
    def shown() -> bytes:
        nonlocal seen
        seen += seat.stdout.read() or b""
        return seen

    seen = b""
    seat.stdin.write(b"\r")
    seat.stdin.flush()
    eventually(lambda: b"ann login:" in shown())
    seat.stdin.write(b"somebody\r")
    seat.stdin.flush()
    eventually(lambda: b"Password:" in shown())
    seat.stdin.write(b"\x1d")
    seat.stdin.flush()
    assert seat.wait(30) == 0
