"""Sitting at a VM's consoles: with a terminal of one's own, as people do, and with pipes, as scripts do."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx
import pytest
from tests.cli.conftest import plain_environment
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.slow

LEAVE = b"\x1d"


@dataclass
class Seat:
    """`cumulet vm console` in a terminal of its own."""

    process: subprocess.Popen[bytes]
    screen: int
    shown: bytes = b""

    def type(self, keys: bytes) -> None:
        os.write(self.screen, keys)

    def wait_for(self, words: bytes) -> None:
        """Return when the terminal shows the words after those that were waited for before."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.shown:
            assert time.monotonic() < deadline, f"no {words!r} in {self.shown!r}"
            if select.select([self.screen], [], [], 0.1)[0]:
                self.shown += os.read(self.screen, 4096)
        self.shown = self.shown.partition(words)[2]

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.screen)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


@pytest.fixture
def sit(settings) -> Iterator[Callable[[str], Seat]]:
    seats: list[Seat] = []

    def sit_at(name: str) -> Seat:
        screen, inside = pty.openpty()
        argv = (sys.executable, "-m", "cumulet", "vm", "console", name)
        process = subprocess.Popen(
            argv, env=plain_environment(settings), stdin=inside, stdout=inside, stderr=inside
        )
        os.close(inside)
        seats.append(Seat(process, screen))
        return seats[-1]

    yield sit_at
    for seat in seats:
        seat.process.kill()
        seat.process.wait()
        with suppress(OSError):
            os.close(seat.screen)


def test_keys_go_to_the_guest_unread_and_its_words_come_back(cumulet, sit):
    cumulet("vm", "create", "sat-at", "--image", "micro", "--wait")
    seat = sit("sat-at")
    before = termios.tcgetattr(seat.screen)
    seat.wait_for(b"connected to the console of sat-at: press Enter for a prompt, Ctrl-] to leave")
    while not seat.is_raw():
        time.sleep(0.01)
    seat.type(b"\x03\x1b[A\r")
    seat.wait_for(b"\x03\x1b[A\r")
    seat.type(b"last" + LEAVE + b"lost")
    assert seat.process.wait(PATIENCE_S) == 0
    assert termios.tcgetattr(seat.screen) == before


def test_the_first_at_a_console_is_told_that_the_second_sits_there_now(cumulet, sit):
    cumulet("vm", "create", "for-one", "--image", "micro", "--wait")
    first = sit("for-one")
    first.wait_for(b"connected to the console")
    second = sit("for-one")
    second.wait_for(b"connected to the console")
    first.wait_for(b"The console was opened elsewhere")
    assert first.process.wait(PATIENCE_S) == 1
    second.type(b"mine")
    second.wait_for(b"mine")


def test_a_console_that_ends_says_why_and_leaves_the_terminal_as_it_was(cumulet, sit):
    cumulet("vm", "create", "ends", "--image", "micro", "--wait")
    seat = sit("ends")
    before = termios.tcgetattr(seat.screen)
    seat.wait_for(b"connected to the console")
    cumulet("vm", "stop", "ends")
    seat.wait_for(b"The VM is off. Start it with `cumulet vm start`")
    assert seat.process.wait(PATIENCE_S) == 1
    assert termios.tcgetattr(seat.screen) == before


def test_what_a_pipe_brings_is_typed_and_the_guest_is_listened_to_after_it(cumulet, settings):
    cumulet("vm", "create", "piped", "--image", "micro", "--wait")
    argv = (sys.executable, "-m", "cumulet", "vm", "console", "piped")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(argv, env=plain_environment(settings), **pipes) as seat:
        seat.stdin.write(b"a line\n")
        seat.stdin.close()
        assert seat.stdout.read(7) == b"a line\n"
        assert seat.poll() is None
        cumulet("vm", "stop", "piped")
        assert seat.wait(PATIENCE_S) == 1
        assert b"The VM is off" in seat.stderr.read()


def test_a_link_leads_to_a_page_of_this_server(cumulet, settings):
    cumulet("vm", "create", "linked", "--image", "micro", "--wait")
    link = cumulet("vm", "connect", "linked").out.strip()
    page, _, ticket = link.partition("#")
    assert page == f"http://{settings['CUMULET_LISTEN']}/console/default/linked/screen"
    assert len(ticket) > 40
    assert "screen.js" in httpx.get(page).text


def test_a_screenshot_is_written_to_a_file(cumulet, tmp_path):
    cumulet("vm", "create", "pictured", "--image", "micro", "--wait")
    file = tmp_path / "screen.png"
    assert cumulet("vm", "screenshot", "pictured", str(file)).code == 0
    assert file.read_bytes().startswith(b"\x89PNG\r\n")
    done = cumulet("vm", "screenshot", "pictured", str(tmp_path / "no/such.png"))
    assert (done.code, done.err.strip()) == (
        2,
        f"cumulet: FILE: cannot write '{tmp_path}/no/such.png': No such file or directory",
    )


@pytest.mark.parametrize("verb", ["console", "connect", "screenshot"])
def test_a_vm_that_is_off_is_refused(cumulet, tmp_path, verb):
    name = f"off-{verb}"
    cumulet("vm", "create", name, "--image", "micro", "--wait")
    cumulet("vm", "stop", name, "--wait")
    done = cumulet("vm", verb, name, *([str(tmp_path / "x.png")] if verb == "screenshot" else []))
    assert done.code == 1
    assert "it is STOPPED and must be ACTIVE" in done.err
    assert not (tmp_path / "x.png").exists()


def test_the_log_of_a_deleted_vm_is_still_there(cumulet):
    cumulet("vm", "create", "dead", "--image", "micro", "--wait")
    cumulet("vm", "delete", "dead", "--wait")
    assert cumulet("vm", "log", "dead").out.endswith(" of dead\n")
