import pytest

from cumulet.cli.follow import read_span
from cumulet.cli.output import aligned, printable, span
from cumulet.errors import Invalid


def test_columns_are_as_wide_as_their_widest_cell():
    assert aligned([("NAME", "STATE"), ("a-long-name", "ACTIVE"), ("b", "")]) == (
        "NAME         STATE\na-long-name  ACTIVE\nb\n"
    )


def test_nothing_printed_speaks_to_the_terminal():
    assert printable("a\x1b[2Jb\x07\u009bc\td\n") == "a[2Jbc\td\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (90061, "1 d 1 h")],
)
def test_a_span_of_time_is_told_in_its_two_largest_units(seconds, words):
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172800), ("0s", 0)]
)
def test_a_span_of_time_is_read_as_people_write_it(text, seconds):
    assert read_span("--ttl", text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5", "-1s", "1.5h"])
def test_what_is_no_span_of_time_is_refused_with_its_option(text):
    with pytest.raises(Invalid, match="--ttl"):
        read_span("--ttl", text)
