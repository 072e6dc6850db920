"""The console in a browser: a real guest is seen, typed into, and every end is told in words."""

import os
from pathlib import Path

import pytest
from tests.browser.conftest import Browser, log_in
from tests.e2e.processes import QEMU, kill
from tests.e2e.real_cloud import Vm
from tests.e2e.traces import Parts
from tests.waiting import eventually
from tests.words import DELETED

pytestmark = [pytest.mark.lab, pytest.mark.guest]

PASTED = '~!@#$%^&*()_+`-={}|[]\\:";<>?,./ aZ09'
PICTURES = os.environ.get("CONSOLE_PICTURES")
"""A folder for pictures of the pages, for people."""


def keep(browser: Browser, name: str) -> None:
    if PICTURES:
        browser.picture(Path(PICTURES) / f"{name}.png")


def screenshot(vm: Vm) -> bytes:
    answer = vm.cloud.api.get(f"{vm.path}/screenshot")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    return answer.content


def file(vm: Vm, path: str) -> str:
    """What a file in the guest holds; nothing when it is not there."""
    return vm.output_of(f"cat {path} 2>/dev/null; true")


def test_the_guest_is_seen_as_it_is(browser, vm, link):
    browser.open(link())
    browser.wait_open()
    eventually(lambda: (likeness := browser.likeness(screenshot(vm)))[0] > 0.99 and likeness[1] > 500)
    assert browser.find("h1").text == "guest"
    keep(browser, "screen")


def test_what_is_typed_at_the_screen_reaches_the_guest(browser, vm, link):
    browser.open(link())
    browser.wait_open()
    log_in(browser, vm, "tty1")
    browser.type("echo By Hand > typed")
    assert eventually(lambda: file(vm, "/root/typed")) == "By Hand\n"
    keep(browser, "typed")


def test_what_is_pasted_at_the_screen_is_typed_key_by_key(browser, vm):
    browser.click("#paste")
    browser.find("#text").send_keys(f"cat > pasted\n{PASTED}\nthe end\n")
    keep(browser, "paste")
    browser.click("#paste-box .main")
    assert eventually(lambda: "end" in (text := file(vm, "/root/pasted")) and text) == f"{PASTED}\nthe end\n"


def test_the_serial_console_is_a_terminal(browser, vm):
    browser.click("#other")
    browser.wait_open()
    browser.type("")
    eventually(lambda: "login:" in browser.terminal())
    log_in(browser, vm, "ttyS0")
    browser.type("echo $((6 * 7))")
    eventually(lambda: "42" in browser.terminal())
    keep(browser, "serial")


def test_who_is_sent_away_is_told_and_comes_back(browser, vm, link):
    first = browser.chrome.current_window_handle
    browser.chrome.switch_to.new_window("window")
    browser.open(link().replace("/screen#", "/serial#"))
    browser.wait_open()
    second = browser.chrome.current_window_handle
    browser.chrome.switch_to.window(first)
    assert "opened elsewhere" in browser.wait_message()
    browser.click("#message button")
    browser.wait_open()
    assert browser.message() == ""
    browser.chrome.switch_to.window(second)
    assert "opened elsewhere" in browser.wait_message()
    browser.chrome.close()
    browser.chrome.switch_to.window(first)


def test_a_link_that_is_not_good_says_so(browser, vm, link):
    browser.open(link().partition("#")[0] + "#made-up")
    assert "This link has expired" in browser.wait_message()
    keep(browser, "expired")
    browser.open(link().replace("/guest/", "/other/"))
    assert "This link is for another VM" in browser.wait_message()


def test_a_killed_qemu_and_its_return_are_told(browser, vm, link):
    browser.open(link())
    browser.wait_open()
    kill(QEMU, Parts.of(vm).vm)
    assert "The VM is restarting" in browser.wait_message()
    vm.wait_for_ssh()
    browser.click("#message button")
    browser.wait_open()


def test_ctrl_alt_del_reaches_the_guest(browser, vm):
    vm.output_of("touch /run/still-up")
    browser.click("#ctrl-alt-del")
    has_forgotten = "test ! -e /run/still-up"  # its memory ends with a restart, during which nobody answers
    eventually(lambda: vm.ssh(has_forgotten).returncode == 0)


def test_a_server_that_goes_is_told(browser, vm, link):
    browser.open(link())
    browser.wait_open()
    vm.cloud.stop()
    assert "The server restarts" in browser.wait_message()
    vm.cloud.start()
    browser.click("#message button")
    browser.wait_open()
    vm.cloud.kill()
    assert "The connection broke" in browser.wait_message()
    vm.cloud.start()
    browser.click("#message button")
    browser.wait_open()


def test_a_vm_that_goes_off_and_away_says_so(browser, vm, link):
    browser.open(link())
    browser.wait_open()
    vm.verb("stop")
    assert "The VM is off" in browser.wait_message()
    keep(browser, "off")
    vm.wait_for("STOPPED")
    browser.click("#message button")
    assert "The VM is off" in eventually(lambda: browser.state() == "ended" and browser.message())
    refused = vm.cloud.api.get(f"{vm.path}/connect")
    assert (refused.status_code, refused.json()["code"]) == (400, 9)
    vm.verb("start")
    vm.wait_for("ACTIVE")
    browser.click("#message button")
    browser.wait_open()
    vm.verb("terminate")
    assert DELETED in browser.wait_message()
    eventually(vm.gone)
    kept = vm.cloud.ask("GET", f"{vm.path}/console-log")["text"]
    assert "login:" in kept
