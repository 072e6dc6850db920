import json
import re

import msgspec
import pytest

from cumulet.cli import output, watch
from cumulet.cli.client import Declined
from cumulet.cli.follow import read_span
from cumulet.cli.output import (
    Listing,
    aligned,
    choose,
    fitted,
    json_text,
    printable,
    show,
    show_one,
    span,
    yaml_text,
)
from cumulet.cli.progress import Progress
from cumulet.errors import Invalid

OBEYED = "\x1b[2J\x07\r\x7f\x9b31m\x80\u202e\u2066\u200f\u061c\u2028"
"""What terminals obey: escapes, the C1 set's own ones, turned lines, other ends of lines."""
ANSWER = {"id": f"web{OBEYED}", "note": f"ü 🙂{OBEYED}", OBEYED: ["a\tb\n"]}
COLUMNS = {"NAME": lambda one: one["id"], "NOTE": lambda one: one["note"]}


def test_columns_are_as_wide_as_their_widest_cell():
    assert aligned([("NAME", "STATE"), ("a-long-name", "ACTIVE"), ("b", "")]) == (
        "NAME         STATE\na-long-name  ACTIVE\nb\n"
    )


def test_a_cell_stays_in_its_line():
    assert aligned([("NAME", "NOTE"), ("a", "one\ntwo")]) == "NAME  NOTE\na     one two\n"


def test_nothing_printed_speaks_to_the_terminal():
    assert printable("a\x1b[2Jb\x07\u009bc\td\n") == "a[2Jbc\td\n"
    assert printable(OBEYED) == "[2J31m"


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml", "name"])
def test_no_form_of_a_list_speaks_to_the_terminal(form, capsys):
    show([ANSWER], Listing(output=form), COLUMNS)
    printed = capsys.readouterr().out
    assert "web" in printed
    assert printable(printed) == printed


@pytest.mark.parametrize("form", ["table", "json", "yaml", "name"])
def test_no_form_of_a_thing_speaks_to_the_terminal(form, capsys):
    show_one(ANSWER, form, COLUMNS)
    printed = capsys.readouterr().out
    assert "web" in printed
    assert printable(printed) == printed


def test_json_and_yaml_leave_nothing_out():
    assert json.loads(json_text(ANSWER)) == ANSWER
    assert msgspec.yaml.decode(yaml_text(ANSWER)) == ANSWER
    assert yaml_text({"note": "ü"}) == "note: ü\n"


def test_neither_steps_nor_refusals_speak_to_the_terminal(command, capsys):
    Progress().say(f"step{OBEYED}")
    assert capsys.readouterr().err == "step[2J31m\n"
    for words in (("vm", "get", f"x{OBEYED}"), (f"x{OBEYED}",), ("vm", "get", f"--{OBEYED}")):
        refused = command(*words).err
        assert printable(refused) == refused


def test_who_watches_is_not_spoken_to_by_a_refusal(capsys):
    class Server:
        def get(self, *_):
            raise Declined(f"there is no VM 'x{OBEYED}'", code=watch.NOT_FOUND, details=[])

    watch.tell_if_absent(Server(), "default", "x")
    assert capsys.readouterr().err == "cumulet: there is no VM 'x[2J31m'; waiting for one of that name\n"


def test_a_narrow_terminal_narrows_the_widest_columns():
    assert fitted([20, 9, 30, 5], 80) == [20, 9, 30, 5]
    assert fitted([20, 9, 30, 5], 60) == [20, 9, 20, 5]
    assert fitted([50, 9, 30, 5], 60) == [20, 9, 20, 5]
    assert fitted([50, 9, 30, 5], 10) == [6, 6, 6, 5]
    assert (
        aligned([("NAME", "NOW"), ("web", "its host has no room")], room=15) == "NAME  NOW\nweb   its host…\n"
    )


def test_a_list_fits_its_terminal_but_not_a_pipe(monkeypatch, capsys):
    thing = {"id": "web", "note": "n" * 200}
    show([thing], Listing(), COLUMNS)
    assert "n" * 200 in capsys.readouterr().out
    monkeypatch.setattr(output, "terminal_width", lambda: 80)
    show([thing], Listing(), COLUMNS)
    assert max(map(len, capsys.readouterr().out.splitlines())) == 80
    show([thing], Listing(output="wide"), COLUMNS)
    assert "n" * 200 in capsys.readouterr().out


def test_columns_can_be_chosen():
    more = {"DATA CENTER": lambda one: one["dataCenterId"]}
    assert list(choose(Listing(), COLUMNS, more)) == ["NAME", "NOTE"]
    assert list(choose(Listing(output="wide"), COLUMNS, more)) == ["NAME", "NOTE", "DATA CENTER"]
    assert list(choose(Listing(columns="data-center, Name"), COLUMNS, more)) == ["DATA CENTER", "NAME"]
    with pytest.raises(
        Invalid, match=re.escape("--columns: 'age' is not accepted; expected some of name, note")
    ):
        choose(Listing(columns="name,age"), COLUMNS, more)


def test_headings_can_be_left_out(capsys):
    show([{"id": "web", "note": "x"}], Listing(no_header=True), COLUMNS)
    show([], Listing(no_header=True), COLUMNS)
    assert capsys.readouterr().out == "web  x\n"


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
