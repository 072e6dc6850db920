"""From a form to a guest and to its end, in a browser alone: on a real guest."""

from collections.abc import Callable

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from tests.browser.conftest import PASSWORD, Browser, log_in
from tests.e2e.real_cloud import URL, RealCloud, Vm
from tests.waiting import eventually

pytestmark = [pytest.mark.lab, pytest.mark.guest]

VM = f"{URL}/p/default/vms/walk"


def text_of(browser: Browser, selector: str) -> str:
    """What an element says at one moment."""
    return browser.chrome.execute_script(
        "return document.querySelector(arguments[0])?.textContent ?? ''", selector
    )


def shows(browser: Browser, selector: str, words: str) -> Callable[[], bool]:
    return lambda: words in text_of(browser, selector)


def create(browser: Browser, key: str) -> None:
    browser.chrome.get(f"{URL}/p/default/new-vm")
    browser.find("#vmId").send_keys("walk")
    browser.chrome.execute_script("document.querySelector('input[value=micro]').click()")
    browser.find("#password").send_keys(PASSWORD)
    browser.find("#customSshKeys").send_keys(key)
    browser.find("#startScript").send_keys("echo by the page > /root/first-boot")
    browser.click("#create .main")
    eventually(lambda: browser.chrome.current_url == VM)


def type_at_console(browser: Browser, vm: Vm) -> None:
    """Log in at the serial console and have the guest say what the first boot wrote."""
    browser.chrome.get(f"{VM}/console")
    browser.chrome.switch_to.frame(browser.find("iframe.console"))
    browser.wait_open()
    log_in(browser, vm, "ttyS0")
    browser.type("cat /root/first-boot")
    eventually(lambda: "by the page" in browser.terminal())
    browser.chrome.switch_to.default_content()


def change_group(browser: Browser) -> None:
    """Put it into a group that lets nothing in, and let in by it what that keeps out."""
    browser.chrome.get(f"{URL}/p/default/new-security-group")
    browser.find("#id").send_keys("closed")
    browser.click("main form .main")
    eventually(lambda: browser.chrome.current_url.endswith("/security-groups/closed"))
    browser.chrome.get(f"{VM}/network")
    Select(browser.find("form[action$='/group/attach'] select")).select_by_visible_text("closed")
    browser.click("form[action$='/group/attach'] button")
    eventually(lambda: browser.chrome.find_elements(By.CSS_SELECTOR, ".effects"))
    browser.click(".acts .danger")
    eventually(lambda: browser.chrome.current_url == f"{VM}/network")
    asked = f"{VM}?from=203.0.113.7&port=22&protocol=tcp"

    def reached(words: str) -> bool:
        browser.chrome.get(asked)
        return words in text_of(browser, "#reach .note")

    eventually(lambda: reached("No."))
    browser.click("#reach .note form button")
    eventually(lambda: reached("Yes."))


def test_a_real_guest_from_its_creation_to_its_end(browser: Browser, real_cloud: RealCloud):
    browser.chrome.get_log("browser")
    browser.open(real_cloud.ask("POST", "/v1/sessions/tickets")["url"])
    eventually(lambda: "/vms" in browser.chrome.current_url)
    create(browser, real_cloud.key.public)
    vm = Vm(real_cloud, "walk", "default").wait_for_ssh()
    eventually(shows(browser, "#head", "Running"))
    eventually(shows(browser, "#events", "first boot finished"))
    type_at_console(browser, vm)
    change_group(browser)
    browser.chrome.get(VM)
    browser.click("form[action$='/stop'] button")
    eventually(shows(browser, "#head", "Off"))
    browser.chrome.get(f"{VM}/disks")
    browser.find("input[name=snapshotId]").send_keys("as-it-was")
    browser.find("input[name=snapshotId]").submit()
    eventually(lambda: "as-it-was" in text_of(browser, "#live"))
    browser.chrome.get(f"{VM}/delete")
    browser.click("main form .danger")
    eventually(lambda: browser.chrome.current_url == f"{URL}/p/default/vms")
    eventually(vm.gone)
    assert [one["message"] for one in browser.chrome.get_log("browser")] == []
