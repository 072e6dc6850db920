"""Several names in one command, and what is asked of a VM that is so already."""

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from tests.cli.conftest import plain_environment

from cumulet.cli.follow import TimedOut
from cumulet.cli.several import SomeFailed, each
from cumulet.errors import NotFound

BOOTED = ("vm", "create", "--image", "micro", "--wait")

INTERRUPTIBLE = ("env", "--default-signal=INT")
"""Whoever runs the tests in the background of a shell has them ignore Ctrl-C, and so all that they start."""


def states(cumulet, *names):
    return [cumulet("vm", "get", name, "-o", "json").json["state"] for name in names]


def test_each_name_is_tried_and_who_failed_is_not_gone_on_with():
    done = []

    def first(name):
        done.append(("first", name))
        if name == "b":
            raise NotFound("b")

    def second(name):
        done.append(("second", name))
        if name == "c":
            raise TimedOut("c")

    with pytest.raises(SomeFailed) as some:
        each(("a", "b", "c", "a"), first, second)
    assert done == [("first", "a"), ("first", "b"), ("first", "c"), ("second", "a"), ("second", "c")]
    assert [type(failure) for failure in some.value.failures] == [NotFound, TimedOut]


def test_failures_are_told_at_the_end_and_the_first_is_the_exit_code(cumulet):
    cumulet(*BOOTED, "there-1")
    cumulet(*BOOTED, "there-2")
    done = cumulet("vm", "stop", "there-1", "nobody", "there-2", "Nobody-Either", "--wait")
    assert done.code == 3
    lines = done.err.splitlines()
    assert [line.split("'")[1] for line in lines[-2:]] == ["nobody", "Nobody-Either"]
    assert states(cumulet, "there-1", "there-2") == ["STOPPED", "STOPPED"]
    assert cumulet("vm", "delete", "nobody", "there-1", "there-2", "--wait").code == 3
    assert cumulet("vm", "get", "there-2").code == 3


@pytest.mark.parametrize("kind", ["disk", "network", "security-group", "private-image", "ssh-key"])
def test_of_all_things_several_can_be_deleted(cumulet, kind):
    done = cumulet(kind, "delete", "nothing-1", "nothing-2")
    assert done.code == 3
    assert len(done.err.splitlines()) == 2


def test_what_is_so_already_is_done(cumulet):
    cumulet(*BOOTED, "already")
    for wait in ((), ("--wait",)):
        started = cumulet("vm", "start", "already", *wait)
        assert (started.code, started.err) == (0, "already is already running\n")
    cumulet("vm", "stop", "already")
    assert cumulet("vm", "stop", "already", "--wait").code == 0
    stopped = cumulet("vm", "stop", "already", "--wait")
    assert (stopped.code, stopped.err) == (0, "already is already stopped\n")
    assert cumulet("vm", "reboot", "already").code == 1


def test_a_vm_is_waited_for_whoever_asked_something_of_it(cumulet):
    cumulet("vm", "create", "awaited", "--image", "micro")
    assert "awaited is ready after" in cumulet("vm", "wait", "awaited").err
    assert "awaited is running after" in cumulet("vm", "wait", "awaited", "--for", "running").err
    late = cumulet("vm", "wait", "awaited", "--for", "stopped", "--timeout", "0s")
    assert (late.code, "VM 'awaited' has not stopped in time: it is ACTIVE" in late.err) == (5, True)
    cumulet("vm", "stop", "awaited")
    assert "awaited stopped after" in cumulet("vm", "wait", "awaited", "--for", "stopped").err
    vain = cumulet("vm", "wait", "awaited")
    assert (vain.code, "VM 'awaited' is STOPPED" in vain.err) == (1, True)
    assert cumulet("vm", "wait", "awaited", "nobody", "--for", "stopped").code == 3
    cumulet("vm", "delete", "awaited")
    assert "awaited is deleted after" in cumulet("vm", "wait", "awaited", "--for", "gone").err


def test_ctrl_c_ends_the_wait_and_says_that_the_cloud_goes_on(cumulet, settings):
    cumulet(*BOOTED, "goes-on")
    words = ("vm", "wait", "goes-on", "--for", "stopped")
    argv = (*INTERRUPTIBLE, sys.executable, "-m", "cumulet", *words)
    screen, inside = pty.openpty()  # nothing shows without a terminal that it waits
    with subprocess.Popen(argv, env=plain_environment(settings), stderr=inside) as waiting:
        os.close(inside)
        told = b""
        while b"goes-on" not in told:
            told += os.read(screen, 4096)
        os.kill(waiting.pid, signal.SIGINT)
        with suppress(OSError):  # nobody has the terminal any more
            while True:
                told += os.read(screen, 4096)
    os.close(screen)
    assert waiting.returncode == 130
    assert told.endswith(
        b"cumulet: the cloud continues with goes-on; `cumulet vm get goes-on` shows its progress "
        b"and `cumulet vm wait goes-on` waits again\r\n"
    )


def test_ctrl_c_while_a_command_loads_is_no_traceback():
    code = "import os, signal; from cumulet.__main__ import main; os.kill(os.getpid(), signal.SIGINT)"
    ended = subprocess.run((*INTERRUPTIBLE, sys.executable, "-c", code), capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, b"")  # 130 in a shell


def test_ctrl_c_elsewhere_is_no_traceback(command, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("cumulet.cli.client.Client.call", interrupt)
    done = command("vm", "list")
    assert (done.code, done.out, done.err) == (130, "", "cumulet: interrupted\n")
