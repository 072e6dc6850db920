"""Waiting is tested on made-up stories: what a server would show at each look."""

import time

import pytest
from tests.words import DELETED

from cumulet.cli import follow as waiting
from cumulet.cli.client import Declined
from cumulet.cli.follow import Failed, TimedOut, Wait, follow
from cumulet.cli.progress import Progress
from cumulet.errors import Unavailable

GONE = Declined("there is no VM 'web'", code=5, details=[])
AWAY = Unavailable("no answer from http://127.0.0.1:8480")


def step(event: str, second: int = 0) -> dict[str, str]:
    return {"event": event, "text": f"the text of {event}", "time": f"2026-03-01T12:00:{second:02}Z"}


def shown(*events: str, state: str = "ACTIVE", problem: str = "", script: int | None = None):
    """What one look shows: the VM, and its timeline with a step each second."""
    vm = {
        "id": "web",
        "state": state,
        "problem": problem,
        "waitingFor": "",
        "guest": {"startScriptStatus": script},
    }
    return vm, [step(event, second) for second, event in enumerate(events)]


class Story:
    """A client that shows one look after the other, the last one for ever."""

    def __init__(self, *looks):
        self.looks = list(looks)

    def get(self, path, *_):
        look = self.looks[0]
        if path.endswith("/timeline"):
            if isinstance(look, Exception):
                self.turn()
                raise look
            return {"entries": look[1]}
        self.turn()
        return {"VM": look[0]}

    def turn(self):
        if len(self.looks) > 1:
            self.looks.pop(0)


@pytest.fixture
def wait_for(monkeypatch):
    """Wait through a story, without the pauses."""
    monkeypatch.setattr(waiting, "pause", lambda _: 0)

    def go(verb, *looks, seconds=60):
        return follow(Wait(Story(*looks), "default", "web", verb, time.monotonic() + seconds), Progress())

    return go


def test_each_step_is_told_once_with_how_long_it_took(wait_for, capsys):
    wait_for(
        "create",
        shown("vm.create_requested", state="PENDING"),
        shown("vm.create_requested", "vm.started"),
        shown("vm.create_requested", "vm.started"),
        shown("vm.create_requested", "vm.started", "vm.agent_connected", "vm.first_boot_done"),
    )
    *steps, end = capsys.readouterr().err.splitlines()
    assert steps == [
        f"     1.0 s  the text of vm.{event}" for event in ("started", "agent_connected", "first_boot_done")
    ]
    assert end.startswith("web is ready after")


def test_what_happened_before_it_was_asked_does_not_count(wait_for, capsys):
    before = ("vm.create_requested", "vm.started", "vm.agent_connected", "vm.reboot_requested")
    wait_for("reboot", shown(*before), shown(*before, "vm.started", "vm.agent_connected"))
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_guest_that_never_speaks_ends_the_wait(wait_for):
    assert wait_for("create", shown("vm.create_requested", "vm.started", "vm.guest_silent"))["id"] == "web"


def test_a_problem_is_told_and_waited_out(wait_for, capsys):
    wait_for(
        "create",
        shown("vm.create_requested", problem="the disk is full"),
        shown("vm.create_requested", problem="the disk is full"),
        shown("vm.create_requested", "vm.first_boot_done"),
    )
    assert capsys.readouterr().err.count("problem  the disk is full") == 1


def test_a_server_that_starts_anew_is_waited_for(wait_for):
    assert wait_for("stop", AWAY, AWAY, shown("vm.stop_requested", "vm.stopped", state="STOPPED"))


def test_a_deleted_vm_is_waited_for_until_it_is_gone(wait_for):
    assert wait_for("terminate", shown("vm.terminate_requested", state="DELETING"), GONE) == {}


@pytest.mark.parametrize(
    ("look", "said"),
    [
        (GONE, DELETED),
        (shown("vm.create_requested", state="DELETING"), DELETED),
        (shown("vm.create_requested", state="FAILED", problem="no room"), "failed: no room"),
        (shown("vm.create_requested", "vm.stopped", state="STOPPED"), "is off: the text of vm.stopped"),
        (shown("vm.create_requested", "vm.first_boot_done", script=7), "exited with status 7"),
    ],
)
def test_what_will_never_be_is_not_waited_for(wait_for, look, said):
    with pytest.raises(Failed, match=said):
        wait_for("create", look)


@pytest.mark.parametrize(
    ("look", "said"),
    [
        (shown("vm.create_requested", state="PENDING"), "VM 'web' is not ready in time: it is PENDING"),
        (shown("vm.create_requested", problem="no room"), "VM 'web' is not ready in time: no room"),
        (AWAY, "VM 'web' is not ready in time: no answer"),
    ],
)
def test_what_takes_too_long_is_told_with_what_it_waits_for(wait_for, look, said):
    with pytest.raises(TimedOut, match=said):
        wait_for("create", look, seconds=0)
