import os
import subprocess

import pytest

from cumulet.hypervisor import mortal
from cumulet.hypervisor.mortal import dies_with_us


@pytest.mark.parametrize(("off", "said"), [(0, b"begun\n"), (1, b"")])
def test_a_program_begins_under_its_own_keeper_alone(monkeypatch, off, said):
    keeper = os.getpid() + off
    monkeypatch.setattr(mortal.os, "getpid", lambda: keeper)
    assert subprocess.run(dies_with_us("echo", "begun"), stdout=subprocess.PIPE, check=False).stdout == said
