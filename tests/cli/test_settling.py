"""Waiting for disks and images is tested on made-up stories: what a server would show at each look."""

from __future__ import annotations

import time

import pytest
from tests.cli.test_follow import AWAY

from cumulet.cli import follow as waiting
from cumulet.cli.client import Declined
from cumulet.cli.follow import Failed, TimedOut
from cumulet.cli.settling import Resource, Wait, follow, state

GONE = Declined("there is no disk 'data'", code=5, details=[])
MAKING = {"diskState": "DISK_STATE_INIT", "problem": "", "waitingFor": "its host makes it"}
READY = {"diskState": "DISK_STATE_READY", "problem": "", "waitingFor": ""}
LOST = {"diskState": "DISK_STATE_ERROR", "problem": "it has gone from the host", "waitingFor": ""}


class Story:
    """A client that shows one look after the other, the last one for ever."""

    def __init__(self, *looks):
        self.looks = list(looks)

    def get(self, *_):
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return {"disk": look}


@pytest.fixture
def wait_for(monkeypatch):
    monkeypatch.setattr(waiting, "pause", lambda _: 0)

    def go(so, *looks, seconds=60):
        resource = Resource(Story(*looks), "disk", "/{}/{}", "default", "data")
        return follow(resource, Wait(so, "is as asked", time.monotonic() + seconds))

    return go


def is_ready(disk):
    return state(disk) == "READY"


def test_it_is_given_as_it_is_in_the_end(wait_for, capsys):
    assert wait_for(is_ready, MAKING, MAKING, READY) == READY
    assert "data is as asked after" in capsys.readouterr().err


def test_a_server_that_starts_anew_is_waited_for(wait_for):
    assert wait_for(is_ready, MAKING, AWAY, AWAY, READY) == READY


def test_what_is_gone_may_be_what_was_asked(wait_for):
    assert wait_for(lambda disk: not disk, MAKING, GONE) == {}


@pytest.mark.parametrize(
    ("look", "said"),
    [(LOST, "disk 'data': it has gone from the host"), (GONE, "disk 'data': it has been deleted")],
)
def test_what_will_never_be_is_not_waited_for(wait_for, look, said):
    with pytest.raises(Failed, match=said):
        wait_for(is_ready, MAKING, look)


@pytest.mark.parametrize(("look", "said"), [(MAKING, "its host makes it"), (AWAY, "no answer from")])
def test_what_takes_too_long_is_told_with_what_it_waits_for(wait_for, look, said):
    with pytest.raises(TimedOut, match=f"disk 'data' was not done in time: {said}"):
        wait_for(is_ready, look, seconds=0)


def test_another_refusal_is_passed_on(wait_for):
    with pytest.raises(Declined):
        wait_for(is_ready, Declined("not yours", code=7, details=[]))
