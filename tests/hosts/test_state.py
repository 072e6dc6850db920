"""How a host stands, by what its operator asks and by whether it answers."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.made_up import NOON

from cumulet.hosts import SILENCE, HostState, HostWanted, Standing, asked, heard, unheard

UP = Standing(HostWanted.UP, reason="", state=HostState.UP, since=NOON, why="")
LATER = NOON + timedelta(seconds=5)
AFTER_SILENCE = LATER + SILENCE


def wanting(wanted, state=HostState.UP):
    return replace(UP, wanted=wanted, reason="new fans", state=state)


@pytest.mark.parametrize(
    ("wanted", "busy", "state"),
    [
        (HostWanted.UP, True, HostState.UP),
        (HostWanted.CORDONED, False, HostState.CORDONED),
        (HostWanted.DRAINED, True, HostState.DRAINING),
        (HostWanted.DRAINED, False, HostState.MAINTENANCE),
    ],
)
def test_a_host_that_answers_stands_as_its_operator_asks(wanted, busy, state):
    assert heard(wanting(wanted), LATER, busy=busy).state is state


def test_a_host_is_silent_when_it_gave_no_answer_for_fifteen_seconds():
    first = unheard(UP, LATER, "no route")
    assert (first.state, first.why, first.unheard_since) == (HostState.UP, "no route", LATER)
    almost = unheard(first, AFTER_SILENCE - timedelta(milliseconds=1), "no route")
    assert (almost.state, almost.since) == (HostState.UP, NOON)
    silent = unheard(almost, AFTER_SILENCE, "no route")
    assert (silent.state, silent.since, silent.why) == (HostState.SILENT, AFTER_SILENCE, "no route")


def test_an_answer_in_between_begins_the_silence_anew():
    again = heard(unheard(UP, NOON, "slow"), LATER, busy=False)
    assert (again.state, again.since, again.why, again.unheard_since) == (HostState.UP, NOON, "", None)
    assert unheard(again, AFTER_SILENCE, "slow").state is HostState.UP


@pytest.mark.parametrize("wanted", [HostWanted.UP, HostWanted.CORDONED, HostWanted.DRAINED])
def test_what_was_asked_stays_through_silence(wanted):
    before = heard(wanting(wanted), NOON, busy=True)
    silent = unheard(unheard(before, LATER, "x"), AFTER_SILENCE, "x")
    assert (silent.state, silent.wanted) == (HostState.SILENT, wanted)
    back = heard(silent, AFTER_SILENCE, busy=True)
    assert (back.state, back.why) == (before.state, "new fans")


def test_a_host_that_is_lost_stays_so_with_the_proof_while_it_is_silent():
    lost = replace(UP, state=HostState.LOST, why="its power is off")
    assert unheard(lost, AFTER_SILENCE, "no route") == replace(lost, unheard_since=AFTER_SILENCE)


def test_a_host_in_the_making_is_neither_up_nor_silent_by_itself():
    adding = replace(UP, state=HostState.ADDING)
    assert heard(adding, LATER, busy=False).state is HostState.ADDING
    assert unheard(unheard(adding, NOON, "x"), AFTER_SILENCE, "x").state is HostState.ADDING


def test_a_host_does_at_once_what_is_asked_of_it():
    cordoned = asked(UP, HostWanted.CORDONED, LATER, "new fans")
    assert (cordoned.state, cordoned.since, cordoned.why) == (HostState.CORDONED, LATER, "new fans")
    assert asked(cordoned, HostWanted.DRAINED, LATER, "").state is HostState.DRAINING
    assert asked(cordoned, HostWanted.UP, LATER, "").state is HostState.UP


@pytest.mark.parametrize("state", [HostState.ADDING, HostState.SILENT, HostState.LOST])
def test_what_is_asked_of_a_host_that_does_not_answer_counts_when_it_does(state):
    waiting = asked(replace(UP, state=state, why="no route"), HostWanted.CORDONED, LATER, "new fans")
    assert (waiting.state, waiting.why, waiting.wanted) == (state, "no route", HostWanted.CORDONED)
