"""A guest's agent is spoken with in bounds, whatever is at the other end of its channel."""

import json
import threading
import time
from contextlib import contextmanager

import pytest
from tests.hypervisor.libvirt.peers import NOTHING, Refused, agent, peer

from cumulet.hypervisor.libvirt.agent import (
    DEEPEST,
    MOST_BYTES,
    AgentRefuses,
    AgentSilent,
    OutOfBounds,
    conversation,
)

PATIENCE = 0.3


@contextmanager
def speaking_with(tmp_path, talk, *, seconds=30.0):
    path = tmp_path / "agent"
    with peer(path, talk), conversation(path, seconds=seconds) as line:
        yield line


def ask(tmp_path, said, answer=dict, *, seconds=30.0, **arguments):
    with speaking_with(tmp_path, agent(lambda *_: said), seconds=seconds) as line:
        return line.ask("guest-ping", answer, **arguments)


def nested(deep):
    return b'{"return": ' + b"[" * deep + b"]" * deep + b"}\n"


def test_questions_are_answered_one_after_another(tmp_path):
    with speaking_with(tmp_path, agent(lambda command, arguments: [command, arguments])) as line:
        for number in range(3):
            assert line.ask("guest-info", list, number=number) == ["guest-info", {"number": number}]


def test_what_an_agent_refuses_is_told_in_its_words_up_to_a_length(tmp_path):
    def refuse(*_):
        raise Refused("no\0" + "x" * 1000)

    with speaking_with(tmp_path, agent(refuse)) as line, pytest.raises(AgentRefuses) as refusal:
        line.ask("guest-ping", dict)
    assert str(refusal.value) == "no" + "x" * 297


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\n",
        b"{\n",
        b"[]\n",
        b"{}\n",
        b'{"return": "x"}\n',
        b'{"return": 1e99}\n',
        b'{"error": 3}\n',
        b"\xff\n",
        b'"\n',
    ],
)
def test_nonsense_is_refused(tmp_path, nonsense):
    with pytest.raises(AgentRefuses):
        ask(tmp_path, nonsense, int)


def test_an_answer_that_comes_in_pieces_is_put_together(tmp_path):
    def talk(line):
        pieces = agent(lambda *_: {"a": 1})

        class Dripping:
            makefile = staticmethod(line.makefile)

            @staticmethod
            def sendall(data):
                for byte in data:
                    line.sendall(bytes([byte]))

        pieces(Dripping())

    with speaking_with(tmp_path, talk) as line:
        assert line.ask("guest-ping", dict) == {"a": 1}


@pytest.mark.parametrize(
    "stale",
    [
        b'{"return": {}}\n',
        b'{"return": {"half": ',
        b'\xff{"return": 5}\n',
        b'\xff{"return": 5}\n\xff{"ret',
        b'\xff{"return": "x"}\n\xff\n{"error": {"desc": "x"}}\n',
        b"\0\xff\xfe garbage \n\n\n",
    ],
)
def test_what_an_earlier_conversation_left_is_thrown_away(tmp_path, stale):
    with speaking_with(tmp_path, agent(lambda *_: {"a": 1}, before=stale)) as line:
        assert line.ask("guest-ping", dict) == {"a": 1}


@pytest.mark.parametrize(("deep", "fits"), [(DEEPEST - 1, True), (DEEPEST, False), (400_000, False)])
def test_an_answer_may_be_nested_only_so_deep(tmp_path, deep, fits):
    if fits:
        assert ask(tmp_path, nested(deep), list)
    else:
        with pytest.raises(OutOfBounds, match="nested"):
            ask(tmp_path, nested(deep), list)


def test_brackets_in_strings_are_no_nesting(tmp_path):
    text = '[{"\\' * 1000
    assert ask(tmp_path, json.dumps({"return": text}).encode() + b"\n", str) == text


@pytest.mark.parametrize(
    "unclosed", [b'{"return": ' + b"[" * 4_000_000, b'"' * 4_000_000, b"\xff" * 4_000_000, b"a" * 4_000_000]
)
def test_an_answer_without_end_is_cut_off(tmp_path, unclosed):
    with pytest.raises(OutOfBounds, match="1 MiB"):
        ask(tmp_path, unclosed)


@pytest.mark.parametrize("what", [b"\xff{}\n", b"\n", b" ", b"\xff"])
def test_a_guest_that_sends_without_being_asked_is_cut_off(tmp_path, what):
    def flood(line):
        while True:
            line.sendall(what * 10_000)

    with pytest.raises(OutOfBounds), speaking_with(tmp_path, flood):
        pass


def test_many_small_answers_do_not_add_up_to_more_than_one_conversation_takes(tmp_path):
    with (
        speaking_with(tmp_path, agent(lambda *_: "x" * (MOST_BYTES // 4))) as line,
        pytest.raises(OutOfBounds),
    ):
        for _ in range(5):
            line.ask("guest-ping", str)


def drip(line):
    while True:
        line.sendall(b" ")
        time.sleep(0.01)


def never(_line):
    threading.Event().wait(PATIENCE * 3)


@pytest.mark.parametrize("talk", [drip, never])
def test_a_guest_that_takes_its_time_is_silent(tmp_path, talk):
    with pytest.raises(AgentSilent), speaking_with(tmp_path, talk, seconds=PATIENCE):
        pass


def test_a_guest_that_greets_and_then_drips_is_silent(tmp_path):
    with pytest.raises(AgentSilent):
        ask(tmp_path, NOTHING, seconds=PATIENCE)


def test_a_guest_that_hangs_up_is_silent(tmp_path):
    with pytest.raises(AgentSilent), speaking_with(tmp_path, lambda line: line.recv(1)):
        pass


def test_a_channel_that_is_not_there_is_silent(tmp_path):
    with pytest.raises(AgentSilent), conversation(tmp_path / "nothing", seconds=PATIENCE):
        pass


def test_who_waits_behind_another_speaker_is_not_held_up_for_ever(tmp_path):
    path = tmp_path / "agent"
    with (
        peer(path, agent(lambda *_: {})),
        conversation(path, seconds=30),
        pytest.raises(AgentSilent),
        conversation(path, seconds=PATIENCE),
    ):
        pass


def test_a_question_that_nobody_takes_is_given_up(tmp_path):
    def greet_and_read_no_more(line):
        greeting = json.loads(line.recv(1000).lstrip(b"\xff"))
        line.sendall(b"\xff" + json.dumps({"return": greeting["arguments"]["id"]}).encode() + b"\n")
        threading.Event().wait(PATIENCE * 3)

    with (
        pytest.raises(AgentSilent),
        speaking_with(tmp_path, greet_and_read_no_more, seconds=PATIENCE) as line,
    ):
        line.ask("guest-ping", dict, keys=["x" * 10_000_000])
