import subprocess
import sys

import pytest
from tests.cli.conftest import plain_environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def complete(settings, tmp_path_factory):
    """What bash offers for the last of some words."""
    bin = tmp_path_factory.mktemp("bin")
    (bin / "cumulet").write_text(f'#!/bin/sh\nexec {sys.executable} -m cumulet "$@"\n')
    (bin / "cumulet").chmod(0o755)
    script = bin / "completion.bash"
    written = subprocess.run((bin / "cumulet", "completion", "bash"), check=True, stdout=subprocess.PIPE)
    script.write_bytes(written.stdout)
    code = """
        source "$0"
        COMP_WORDS=(cumulet "$@") COMP_CWORD=$#
        _cumulet cumulet "${@: -1}"
        printf '%s\n' "${COMPREPLY[@]}"
    """

    def offered(*words, **changes):
        environment = plain_environment(settings | changes)
        environment["PATH"] = f"{bin}:{environment['PATH']}"
        argv = ("bash", "-c", code, script, *words)
        ran = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
        return ran.stdout.split()

    return offered


def test_names_are_completed_by_asking_the_server(cumulet, complete):
    cumulet("vm", "create", "completed", "--image", "micro")
    assert complete("vm", "get", "comple") == ["completed"]
    assert complete("vm", "delete", "other", "comple") == ["completed"]
    assert complete("vm", "ssh", "comple") == ["completed"]
    assert complete("disk", "get", "completed-") == ["completed-boot"]
    assert complete("vm", "create", "x", "--image", "mic") == ["micro"]
    assert complete("vm", "list", "--project", "def") == ["default"]


def test_where_nobody_answers_nothing_is_completed(complete):
    assert complete("vm", "get", "comple", CUMULET_URL="http://127.0.0.1:1") == []
