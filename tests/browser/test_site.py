"""The pages in Chromium, on made-up hosts: they work, say nothing on the console, and everybody can use them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from tests.browser.conftest import Browser
from tests.browser.site import AXE, Site, running_site
from tests.fleet.test_adding import KEY
from tests.waiting import eventually

from cumulet.web.pages.vm import VM
from cumulet.web.site import PAGES as DECLARED

pytestmark = pytest.mark.slow

PICTURES = os.environ.get("CONSOLE_PICTURES")
"""A folder for pictures of the pages, for people."""
WIDTHS = (390, 768, 1024, 1440)
OF_COLOURS = ("color-contrast", "link-in-text-block")
"""What axe looks at in a dark page as well: nothing else differs there."""
PAGES = {
    "list": "/p/default/vms",
    "list-none": "/p/default/vms?q=nothing",
    "sessions": "/sessions",
    "account": "/account",
    "join": "/join",
    "create": "/p/default/new-vm",
    "vm": "/p/default/vms/web-1?from=203.0.113.7&port=22",
    "vm-graphs": "/p/default/vms/web-1/graphs?of=day",
    "vm-console": "/p/default/vms/web-1/console",
    "vm-console-off": "/p/default/vms/db/console",
    "vm-network": "/p/default/vms/db/network",
    "vm-network-own": "/p/default/vms/inner/network",
    "vm-disks": "/p/default/vms/db/disks",
    "vm-timeline": "/p/default/vms/web-1/timeline",
    "vm-settings": "/p/default/vms/web-1/settings",
    "vm-delete": "/p/default/vms/web-1/delete",
    "groups": "/p/default/security-groups",
    "group-create": "/p/default/new-security-group",
    "group": "/p/default/security-groups/web",
    "group-rule": "/p/default/security-groups/web/rules/ssh",
    "disks": "/p/default/disks",
    "disk-create": "/p/default/new-disk",
    "disk": "/p/default/disks/data",
    "disk-boot": "/p/default/disks/db-boot",
    "disk-delete": "/p/default/disks/data/delete",
    "disk-revert": "/p/default/disks/db-boot/snapshots/fresh/revert",
    "snapshot-delete": "/p/default/disks/db-boot/snapshots/fresh/delete",
    "images": "/p/default/images",
    "image-create": "/p/default/new-image?vmId=db",
    "image": "/p/default/images/golden",
    "image-delete": "/p/default/images/golden/delete",
    "networks": "/p/default/networks",
    "network-create": "/p/default/new-network",
    "network": "/p/default/networks/backend",
    "network-empty": "/p/default/networks/empty",
    "network-delete": "/p/default/networks/backend/delete",
    "group-delete": "/p/default/security-groups/web/delete",
    "activity": "/p/default/activity",
    "members": "/p/default/members",
    "member-remove": "/p/default/members/{bob}/remove",
    "leave": "/p/default/leave",
    "keys": "/keys",
    "key-revoke": "/keys/api/builds/revoke",
    "ssh-key-delete": "/keys/ssh/{ssh_key}/delete",
    "authorize": "/authorize?port=8000",
    "login": "/login",
    "catalogue": "/catalogue",
    "health": "/health",
    "audit": "/audit",
    "hosts": "/hosts",
    "host": "/hosts/memory-1",
    "host-add": "/new-host",
    "host-adding": "/hosts/node-9",
    "host-remove": "/hosts/memory-1/remove",
    "host-lost": "/hosts/memory-1/lost",
    "usage": "/p/default/usage",
    "activity-none": "/p/default/activity?resource=nothing",
}
WEB = {
    "id": "web",
    "dataCenterId": "local",
    "description": "What the world may see",
    "rules": [
        {"id": "ssh", "protocol": "PROTOCOL_TCP", "ports": "22", "ruleType": "RULE_TYPE_INBOUND"},
        {"id": "web", "protocol": "PROTOCOL_TCP", "ports": "80,443", "ruleType": "RULE_TYPE_INBOUND"},
    ],
}
NO_PAGES = {"/", "/find", "/login/sso", "/login/sso/done", f"{VM}/screen.png", f"{VM}/console/inside"}
"""What only leads somewhere else, or is read by scripts and as a picture."""
INSIDE = {"id": "inside", "dataCenterId": "local"}


def test_every_page_that_there_is_is_looked_at():
    addresses = [address.partition("?")[0] for address in PAGES.values()]
    declared = {one.path for one in DECLARED if one.method == "GET"} - NO_PAGES
    patterns = {path: re.sub(r"\{[^}]*\}", "[^/]+", path) for path in declared}
    assert [
        path for path in declared if not any(re.fullmatch(patterns[path], one) for one in addresses)
    ] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as site:
        site.ask("/v1/projects/default/security-groups", WEB)
        site.ask("/v1/projects/default/security-groups", INSIDE)
        for name in ("web-1", "web-2", "db"):
            site.create(name, metadata={"team": "web"}, securityGroupIds=["web"])
        for name, range_ in (("backend", "10.1.0.0/24"), ("empty", "10.2.0.0/24")):
            site.cumulet("network", "create", name, range_)
        site.create("inner", nics=[{"networkId": "backend"}])
        site.cumulet("vm", "stop", "db", "--wait")
        site.cumulet("private-image", "create", "db", "golden", "--wait")
        site.cumulet("disk", "create", "data", "10GiB", "--protect", "--wait")
        site.cumulet("disk", "snapshot", "create", "db-boot", "fresh")
        site.cumulet("key", "create", "--name", "builds")
        site.cumulet("member", "add", "bob@example.org", "viewer")
        members = json.loads(site.cumulet("member", "list", "-o", "json"))
        site.names["bob"] = next(one["userId"] for one in members if one["userEmail"] == "bob@example.org")
        site.names["ssh_key"] = site.ask("/v1/ssh-keys", {"publicKey": f"{KEY} ann@laptop"})["id"]
        site.cumulet(
            "host", "add", "root@127.0.0.1:9", "--name", "node-9", "--label", "rack=3", "--background"
        )
        yield site


@pytest.fixture
def at(browser: Browser, site: Site) -> Iterator[Callable[[str], Browser]]:
    """Go to a page, signed in; at the end nothing may stand on the browser's console."""
    browser.chrome.get_log("browser")
    browser.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.open(site.link())
    eventually(lambda: "/vms" in browser.chrome.current_url)

    def go(page: str) -> Browser:
        browser.chrome.get(site.url + page.format_map(site.names))
        return browser

    yield go
    assert [one["message"] for one in browser.chrome.get_log("browser")] == []


def state_of(browser: Browser, vm: str) -> str:
    """What the list says of a VM, at one moment."""
    script = "return document.querySelector(arguments[0])?.innerText.trim() ?? ''"
    return browser.chrome.execute_script(script, f"#vm-{vm} .state")


def look_as(browser: Browser, width: int, scheme: str) -> None:
    """Have a window of that width, and a system that is light or dark."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def faults(browser: Browser, *, rules: Sequence[str] = ()) -> list[str]:
    """What axe finds on a page that is serious or worse, by some of its rules or by all."""
    browser.chrome.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    browser.chrome.execute_script(f"window.axe ?? (() => {{ {AXE} }})()")
    found = browser.chrome.execute_async_script(
        "axe.run(arguments[0]).then(arguments[1])", {"runOnly": rules} if rules else {}
    )
    return [
        f"{one['id']}: {[node['html'] for node in one['nodes']]}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_it_and_nothing_scrolls_sideways(at, name):
    browser = at(PAGES[name])
    for width in WIDTHS:
        look_as(browser, width, "light")
        wide = browser.chrome.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width
    for scheme, width in product(("light", "dark"), (1440, 390)):
        look_as(browser, width, scheme)
        if PICTURES:
            browser.picture(Path(PICTURES) / f"{name}-{scheme}-{width}.png")
        assert faults(browser, rules=() if scheme == "light" else OF_COLOURS) == [], (scheme, width)


def test_a_link_signs_in_once(browser, site):
    link = site.link()
    browser.open(link)
    eventually(lambda: browser.chrome.current_url == f"{site.url}/p/default/vms")
    browser.open(link)
    notes = eventually(lambda: browser.chrome.find_elements(By.CSS_SELECTOR, ".note"))
    assert "used already" in notes[0].text
    browser.chrome.get_log("browser")  # Chromium writes down each 403


def test_what_the_command_line_changes_shows_by_itself(at, site):
    browser = at("/p/default/vms")
    eventually(lambda: browser.find("#live-status").text == "live")
    site.create("new")
    eventually(lambda: browser.chrome.find_elements(By.ID, "vm-new"))
    eventually(lambda: state_of(browser, "new") == "Running")
    site.cumulet("vm", "delete", "new", "--wait")
    eventually(lambda: not browser.chrome.find_elements(By.ID, "vm-new"))


def test_a_page_is_live_in_whatever_order_its_scripts_arrive(at, site):
    browser = at("/p/default/vms")
    browser.chrome.execute_cdp_cmd("Network.enable", {})
    browser.chrome.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    try:
        for page in ("/p/default/vms/web-1", "/p/default/vms") * 3:
            browser.chrome.get(site.url + page)
            eventually(lambda: browser.find("#live-status").text == "live")
    finally:
        browser.chrome.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": False})


def test_nobodys_typing_is_lost(at, site):
    browser = at("/p/default/vms")
    eventually(lambda: browser.find("#live-status").text == "live")
    browser.find("body").send_keys("/")
    browser.chrome.switch_to.active_element.send_keys("team=we")
    site.create("other")
    eventually(lambda: browser.chrome.find_elements(By.ID, "vm-other"))
    browser.chrome.switch_to.active_element.send_keys("b" + Keys.ENTER)
    eventually(lambda: "q=team%3Dweb" in browser.chrome.current_url)
    assert not browser.chrome.find_elements(By.ID, "vm-other")
    site.cumulet("vm", "delete", "other", "--wait")


@contextmanager
def hidden(browser: Browser) -> Iterator[None]:
    """Have nobody see the page."""
    browser.chrome.minimize_window()
    eventually(lambda: browser.chrome.execute_script("return document.hidden"))
    yield
    browser.chrome.set_window_rect(0, 0, 1000, 720)


def has_stream(browser: Browser) -> bool:
    script = "return Boolean(document.getElementById('live-line')._htmx?.sse?.reader)"
    return bool(browser.chrome.execute_script(script))


def test_a_hidden_page_hears_nothing_and_shows_the_newest_once_it_is_seen(at, site):
    browser = at("/p/default/vms")
    eventually(lambda: has_stream(browser))
    with hidden(browser):
        eventually(lambda: not has_stream(browser))
        site.create("unseen")
        site.cumulet("vm", "wait", "unseen")
        assert not browser.chrome.find_elements(By.ID, "vm-unseen")
    eventually(lambda: state_of(browser, "unseen") == "Running")
    with hidden(browser):
        at("/p/default/vms")
        site.cumulet("vm", "stop", "unseen", "--wait")
        assert state_of(browser, "unseen") == "Running"
        assert not has_stream(browser)
    eventually(lambda: state_of(browser, "unseen") == "Off")
    site.cumulet("vm", "delete", "unseen", "--wait")


SIGN_OUT = """
const form = document.querySelector('form[action="/logout"]'), done = arguments[0];
fetch(form.action, {method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual"}).then(done);
"""
"""Ends the session, as another window would."""


def asks_no_more(browser: Browser, why: str) -> bool:
    """Whether a page says why it is live no longer, and has no stream that comes again and again."""
    over = browser.chrome.execute_script("return !document.getElementById('live-line')._htmx.sse")
    return over and text_of(browser, "#live-status").startswith(why)


def test_a_page_whose_session_ended_says_so_and_keeps_what_is_typed(at, site):
    browser = at("/p/default/vms")
    eventually(lambda: has_stream(browser))
    browser.find("input[name=q]").send_keys("half a na")
    browser.chrome.execute_async_script(SIGN_OUT)
    site.cumulet("vm", "metadata", "db", "seen=no")
    eventually(lambda: asks_no_more(browser, "signed out"))
    assert "seen=no" not in text_of(browser, "#live")
    assert browser.find("input[name=q]").get_attribute("value") == "half a na"
    browser.chrome.get_log("browser")  # Chromium writes down the 401


def test_a_page_whose_vm_is_gone_says_so(at, site):
    site.create("short-lived")
    browser = at("/p/default/vms/short-lived")
    eventually(lambda: has_stream(browser))
    site.cumulet("vm", "delete", "short-lived", "--wait")
    eventually(lambda: asks_no_more(browser, "gone"))
    browser.chrome.get_log("browser")  # Chromium writes down the 404


def test_a_vm_is_stopped_and_started_by_keys_alone(at):
    browser = at("/p/default/vms")
    menu = browser.find("#vm-web-2 summary")
    browser.chrome.execute_script("arguments[0].focus()", menu)
    menu.send_keys(Keys.ENTER)
    browser.find('#vm-web-2 form[action$="/stop"] button').send_keys(Keys.ENTER)
    eventually(lambda: state_of(browser, "web-2") == "Off")
    browser.find("#vm-web-2 summary").send_keys(Keys.ENTER)
    browser.find('#vm-web-2 form[action$="/start"] button').send_keys(Keys.ENTER)
    eventually(lambda: state_of(browser, "web-2") == "Running")


def test_a_vm_is_created_and_its_first_boot_followed(at, site):
    browser = at("/p/default/new-vm")
    browser.find("#vmId").send_keys("made")
    browser.find(".presets button:nth-child(2)").click()
    eventually(lambda: "--vcpus 2" in text_of(browser, "#quote") and "made" in text_of(browser, "#quote"))
    assert browser.find("#vmId").get_attribute("value") == "made"
    browser.find("#create .main").click()
    eventually(lambda: browser.chrome.current_url == f"{site.url}/p/default/vms/made")
    eventually(lambda: "Running" in text_of(browser, "#head"))
    eventually(lambda: "first boot finished" in text_of(browser, "#events"))
    site.cumulet("vm", "delete", "made", "--wait")


def go_by_tab(browser: Browser, words: str) -> WebElement:
    """Press the tab key until something of that name has the keys; whatever has them on the way can be seen to."""
    seen = "const style = getComputedStyle(document.activeElement); return style.outlineStyle != 'none'"
    for _ in range(80):
        browser.chrome.switch_to.active_element.send_keys(Keys.TAB)
        here = browser.chrome.switch_to.active_element
        assert browser.chrome.execute_script(seen) or here.tag_name in {"body", "iframe"}, here.text
        if here.text.strip() == words:
            return here
    pytest.fail(f"the tab key does not lead to {words!r}")


def test_a_vm_lives_and_ends_by_keys_alone(at, site):
    browser = at("/p/default/vms")

    def press(*keys: str) -> None:
        browser.chrome.switch_to.active_element.send_keys(*keys)

    def is_there(id: str) -> bool:
        """Whether a page has come whole, and its first field has the keys."""
        script = "return document.readyState == 'complete' && document.activeElement.id == arguments[0]"
        return bool(browser.chrome.execute_script(script, id))

    eventually(lambda: is_there(""))
    press("c")
    eventually(lambda: is_there("vmId"))
    press("by-keys", Keys.CONTROL + Keys.ENTER)
    eventually(lambda: browser.chrome.current_url.endswith("/vms/by-keys"))
    eventually(lambda: "Running" in text_of(browser, "#head"))
    go_by_tab(browser, "Graphs").send_keys(Keys.ENTER)
    eventually(lambda: "What it used" in text_of(browser, "#live"))
    go_by_tab(browser, "Overview").send_keys(Keys.ENTER)
    eventually(lambda: "What happened" in text_of(browser, "#live"))
    go_by_tab(browser, "Stop").send_keys(Keys.ENTER)
    eventually(lambda: "Off" in text_of(browser, "#head"))
    go_by_tab(browser, "Delete…").send_keys(Keys.ENTER)
    eventually(lambda: "/delete" in browser.chrome.current_url)
    go_by_tab(browser, "Delete by-keys").send_keys(Keys.ENTER)
    eventually(lambda: browser.chrome.current_url.endswith("/p/default/vms"))
    eventually(lambda: not browser.chrome.find_elements(By.ID, "vm-by-keys"))
    press("g", "n")
    eventually(lambda: browser.chrome.current_url.endswith("/networks"))


def test_the_console_of_a_vm_is_typed_into_on_its_page(at):
    browser = at("/p/default/vms/web-1/console")
    browser.chrome.switch_to.frame(browser.find("iframe.console"))
    browser.wait_open()
    browser.type("is anybody there")
    eventually(lambda: "is anybody there" in browser.terminal())  # made-up machines say again what they hear
    browser.chrome.switch_to.default_content()


def test_a_console_has_its_colours_under_a_policy_without_exceptions(at):
    browser = at("/p/default/vms/web-1/console")
    browser.chrome.switch_to.frame(browser.find("iframe.console"))
    browser.wait_open()
    browser.chrome.switch_to.active_element.send_keys(f"{Keys.ESCAPE}[38;2;10;200;30mgreen")
    colours = """return [...document.querySelectorAll(".xterm-rows span")].filter((one) => one.textContent.includes("green"))
        .map((one) => getComputedStyle(one).color)"""
    eventually(lambda: browser.chrome.execute_script(colours) == ["rgb(10, 200, 30)"])
    browser.chrome.switch_to.default_content()


def test_the_page_to_try_the_api_at_works_under_a_policy_without_exceptions(at):
    browser = at("/docs")
    eventually(lambda: browser.chrome.find_elements(By.CSS_SELECTOR, ".opblock-summary"))
    browser.click(".opblock-summary")
    eventually(lambda: browser.chrome.find_elements(By.CSS_SELECTOR, ".opblock.is-open"))


def test_typing_into_a_console_goes_on_while_its_page_changes(at, site):
    browser = at("/p/default/vms/web-1/console")
    browser.chrome.switch_to.frame(browser.find("iframe.console"))
    browser.wait_open()
    browser.chrome.switch_to.active_element.send_keys("half a ")
    browser.chrome.execute_script("window.isTheSame = true")
    browser.chrome.switch_to.default_content()
    site.cumulet("vm", "metadata", "web-1", "seen=here")
    eventually(lambda: "seen=here" in text_of(browser, "#head"))
    browser.chrome.switch_to.frame(browser.find("iframe.console"))
    assert browser.chrome.execute_script("return window.isTheSame")
    browser.type("line")
    eventually(lambda: "half a line" in browser.terminal())
    browser.chrome.switch_to.default_content()


def test_a_console_comes_and_goes_with_its_vm(at, site):
    browser = at("/p/default/vms/web-2/console")
    browser.chrome.switch_to.frame(browser.find("iframe.console"))
    browser.wait_open()
    browser.chrome.switch_to.default_content()
    site.cumulet("vm", "stop", "web-2", "--wait")
    eventually(lambda: "No console now" in text_of(browser, "#live"))
    site.cumulet("vm", "start", "web-2", "--wait")
    eventually(lambda: browser.chrome.find_elements(By.CSS_SELECTOR, "iframe.console"))
    browser.chrome.switch_to.frame(browser.find("iframe.console"))
    browser.wait_open()
    browser.chrome.switch_to.default_content()


def drawn_graphs(browser: Browser) -> int:
    return len(browser.chrome.find_elements(By.CSS_SELECTOR, ".uplot canvas"))


def test_graphs_are_read_out_at_each_point(at, site):
    browser = at("/p/default/vms/web-1/graphs")
    eventually(lambda: drawn_graphs(browser) == 4)
    assert not browser.chrome.find_elements(By.CSS_SELECTOR, ".drawing svg")


def test_graphs_stay_drawn_while_their_page_changes(at, site):
    browser = at("/p/default/vms/web-1/graphs")
    eventually(lambda: drawn_graphs(browser) == 4)
    site.cumulet("vm", "protect", "web-1")
    eventually(
        lambda: browser.chrome.find_elements(By.CSS_SELECTOR, "#head [aria-label='protected from deletion']")
    )
    assert drawn_graphs(browser) == 4
    site.cumulet("vm", "unprotect", "web-1")


def text_of(browser: Browser, selector: str) -> str:
    """What an element says at one moment."""
    script = "return document.querySelector(arguments[0])?.textContent ?? ''"
    return browser.chrome.execute_script(script, selector)


def test_what_a_change_of_rules_cuts_is_agreed_to_first(at, site):
    browser = at("/p/default/security-groups/web")
    browser.find('form[action$="/rules/ssh/delete"] button').click()
    eventually(lambda: "tcp 22 from anywhere" in text_of(browser, ".effects"))
    assert faults(browser) == []
    if PICTURES:
        browser.picture(Path(PICTURES) / "group-review.png")
    browser.find(".acts .danger").click()
    eventually(lambda: browser.chrome.current_url == f"{site.url}/p/default/security-groups/web")
    assert "tcp 22" not in text_of(browser, "#rules")
    site.cumulet("security-group", "allow", "web", "--allow", "tcp:22")
    eventually(lambda: "tcp 22" in text_of(browser, "#rules"))


def test_a_question_mark_tells_the_keys_of_the_page(at):
    browser = at("/p/default/vms")
    browser.find("body").send_keys("?")
    keys = eventually(lambda: text_of(browser, "#shortcuts[open] dl"))
    assert "gvVirtual machines" in keys
    assert "cCreate a VM" in keys
    assert "Ctrl" in keys
    assert faults(browser) == []
    browser.chrome.switch_to.active_element.send_keys(Keys.ESCAPE)
    eventually(lambda: not browser.chrome.find_elements(By.CSS_SELECTOR, "#shortcuts[open]"))


def test_ctrl_k_finds_a_vm_and_goes_there(at, site):
    browser = at("/p/default/new-vm")
    browser.find("body").send_keys(Keys.CONTROL + "k")
    browser.chrome.switch_to.active_element.send_keys("eb-2")
    eventually(lambda: "web-2" in text_of(browser, "#palette li[aria-selected=true]"))
    browser.chrome.switch_to.active_element.send_keys(Keys.ENTER)
    eventually(lambda: browser.chrome.current_url == f"{site.url}/p/default/vms/web-2")
