"""Messages are read as they were written, wherever they were cut on their way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulet.fabric.ovn.messages import MessageParser

TEXTS = st.text(st.sampled_from('{}[]",:\\/ aä\n\t'), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), min_size=1, max_size=3)


def read(pieces):
    """What python-ovs would read of these pieces."""
    parser, messages = MessageParser(), []
    for piece in pieces:
        rest = piece
        while rest:
            rest = rest[parser.feed(rest) :]
            if parser.is_done():
                messages.append(parser.finish())
                parser = MessageParser()
    return messages


@given(MESSAGES, st.integers(1, 40), st.booleans())
def test_messages_are_read_wherever_they_were_cut(messages, length, spaced):
    separators = (", ", ": ") if spaced else (",", ":")
    text = "".join(json.dumps(each, separators=separators, ensure_ascii=spaced) for each in messages)
    assert read(text[at : at + length] for at in range(0, len(text), length)) == messages


def test_a_message_is_not_done_before_its_end():
    parser = MessageParser()
    assert parser.feed('{"a": "}') == len('{"a": "}')
    assert not parser.is_done()
    assert parser.feed('"}{"b": 1}') == len('"}')
    assert parser.is_done()


@pytest.mark.parametrize("text", ["}", "{]}", '{"a"}', "nonsense {}"])
def test_what_is_no_message_is_told_in_words(text):
    parser = MessageParser()
    parser.feed(text)
    assert parser.is_done()
    assert isinstance(parser.finish(), str)
