"""`cumulet watch`: what happens is shown as it happens, also over a restart of the server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from tests.cli.conftest import own_settings, plain_environment, serving

from cumulet.cli import watch
from cumulet.cli.client import Declined, connect
from cumulet.cli.watch import Reader, as_json, as_text

EVENT = {
    "id": "7",
    "time": "2026-03-01T12:00:00Z",
    "kind": "vm",
    "resourceId": "hello",
    "text": "stopped",
    "actor": "ann@example.org",
}


@contextmanager
def watching(settings: dict[str, str], *words: str) -> Iterator[Iterator[dict[str, Any]]]:
    """Watch as a process; gives what it prints, line by line."""
    argv = (sys.executable, "-m", "cumulet", "watch", "-o", "json", *words)
    with subprocess.Popen(
        argv, env=plain_environment(settings), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            yield map(json.loads, process.stdout)
        finally:
            process.terminate()


def until(lines: Iterator[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["event"] != event:
        seen.append(next(lines))
    return seen


def create(command, name: str) -> None:
    done = command("vm", "create", name, "--image", "micro")
    assert done.code == 0, done.err


@pytest.mark.slow
def test_what_happens_is_shown_and_nothing_is_missed_or_repeated_over_a_restart(
    command, tmp_path, monkeypatch
):
    settings = own_settings(tmp_path / "data")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as watched:
        with serving(settings):
            create(command, "one")
            shown = watched.enter_context(watching(settings, "one", "two", "--since", "1h"))
            first = until(shown, "vm.started")
        with serving(settings):
            create(command, "two")
            second = until(shown, "vm.started")
    assert {one["resourceId"] for one in first} == {"one"}
    assert second[-1]["resourceId"] == "two"
    ids = [int(one["id"]) for one in (*first, *second)]
    assert ids == sorted(set(ids))


def test_a_project_that_is_not_there_cannot_be_watched(cumulet):
    done = cumulet("watch", "--project", "nowhere")
    assert (done.code, done.out) == (3, "")
    assert "nowhere" in done.err


def test_who_watches_what_is_not_there_is_told_so(cumulet, capsys):
    assert cumulet("vm", "create", "nearby", "--image", "micro").code == 0
    for name in ("nearby", "nearbi"):
        watch.tell_if_absent(connect(), "default", name)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cumulet: there is no VM 'nearbi'")
    assert line.endswith("; waiting for one of that name")
    assert cumulet("vm", "delete", "nearby", "--wait").code == 0


def test_a_span_that_is_none_is_refused(cumulet):
    assert "--since" in cumulet("watch", "--since", "yesterday").err


def test_a_stream_that_ends_for_good_ends_the_command_with_its_words():
    end = ["event: end", 'data: {"code": 16, "message": "the key is gone", "details": []}', ""]
    with pytest.raises(Declined, match="the key is gone"):
        list(Reader({}).read(iter(end)))


def test_a_server_that_stops_is_waited_for_from_the_last_event_on():
    reader = Reader({})
    stops = ["event: end", 'data: {"code": 14, "message": "stops", "details": []}', ""]
    shown = list(reader.read(iter(["id: 7", f"data: {json.dumps(EVENT)}", "", *stops])))
    assert shown == [EVENT]
    assert reader.wishes == {"lastEventId": "7"}


def test_it_is_told_once_that_it_waits(capsys):
    reader = Reader({})
    for _ in range(2):
        reader.tell_that_it_waits()
    assert capsys.readouterr().err.count("connection was lost") == 1


def test_what_others_wrote_steers_no_terminal():
    wild = EVENT | {"text": "a\x1b[2Jb\nc"}
    assert "\x1b" not in as_text(wild) + as_json(wild)
    assert "\n" not in as_text(wild)
    assert json.loads(as_json(wild)) == wild


def test_a_line_says_when_what_and_who(monkeypatch):
    monkeypatch.setattr(watch, "local_time", lambda text: text)
    assert as_text(EVENT) == "2026-03-01T12:00:00Z  vm hello: stopped  (ann@example.org)"
