"""`cumulet audit`, against a server of which something was asked."""

import csv
import io
import itertools
import json

import pytest

from cumulet.cli import audit, output

NUMBERS = itertools.count()


@pytest.fixture
def asked(cumulet):
    """A network made, and another that was not there to be deleted; gives their names."""
    made, missing = (f"told-{next(NUMBERS)}" for _ in range(2))
    assert cumulet("network", "create", made, f"10.88.{next(NUMBERS)}.0/24").code == 0
    assert cumulet("network", "delete", missing).code == 3
    return made, missing


def test_the_newest_come_first_with_who_what_and_what_came_of_it(cumulet, asked):
    heading, refused, made = cumulet("audit", "list", "--limit", "2").out.splitlines()
    assert heading.split() == [
        "TIME",
        "USER",
        "ADDRESS",
        "OPERATION",
        "PROJECT",
        "TARGET",
        "OUTCOME",
        "COUNT",
    ]
    assert refused.split()[4:] == ["delete_network", "default", f"id={asked[1]}", "NOT_FOUND", "1"]
    assert made.split()[3:7] == ["127.0.0.1", "create_network", "default", f"id={asked[0]}"]


def test_they_are_chosen_by_what_they_have(cumulet, asked):
    chosen = ("--operation", "delete_network", "--refused", "--since", "2026-01-01")
    assert [one["outcome"] for one in cumulet("audit", "list", *chosen, "-o", "json").json][:1] == [
        "NOT_FOUND"
    ]
    assert (
        cumulet("audit", "list", "--outcome", "OK", "--operation", "delete_network", "-o", "json").json == []
    )
    assert cumulet("audit", "list", "--until", "2026-01-01", "-o", "json").json == []
    assert "PERMISSION_DENIED" in cumulet("audit", "list", "--outcome", "bad").err


def test_all_pages_are_exported_as_a_table_or_a_line_each(cumulet, asked, monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 1)
    table = list(csv.DictReader(io.StringIO(cumulet("audit", "export").out)))
    lines = [json.loads(line) for line in cumulet("audit", "export", "-o", "json").out.splitlines()]
    assert len(table) == len(lines) >= 2
    assert table[0]["operation"] == lines[0]["operation"] == "delete_network"
    assert table[0]["target"] == f"id={asked[1]}"


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+1", "-1"])
def test_a_spreadsheet_computes_nothing_of_what_it_reads(text):
    assert output.harmless(text) == f"'{text}"
    assert output.harmless(f"\x1b{text}") == f"'{text}"
    assert output.harmless("id=web\x1b[2J") == "id=web[2J"
