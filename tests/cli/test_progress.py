import os
import subprocess
import sys

from tests.cli.conftest import plain_environment

CODE = """
from cumulet.cli.progress import Progress
progress = Progress()
with progress.part("work"), progress.live("working"):
    progress.begin("digging")
"""


def stderr_of_work(*, terminal: bool) -> str:
    """What somebody sees, at a terminal or in a file."""
    ours, theirs = os.openpty() if terminal else os.pipe()
    environment = plain_environment({"TERM": "xterm", "COLUMNS": "80"})
    subprocess.run((sys.executable, "-c", CODE), env=environment, stderr=theirs, check=True)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as reader:  # noqa: PTH123 - a descriptor, not a path
        try:
            return reader.read(65536).decode()
        finally:
            reader.close()


def test_at_a_terminal_what_is_under_way_is_shown_while_it_is():
    seen = stderr_of_work(terminal=True)
    assert "digging" in seen
    assert "\x1b[2K" in seen, "the line is taken away again"
    assert seen.rstrip().endswith("s  work")


def test_elsewhere_there_are_lines_and_nothing_else():
    digging, work = stderr_of_work(terminal=False).splitlines()
    assert digging.strip() == "digging"
    assert work.endswith(" s  work")
