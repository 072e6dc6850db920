"""Chromium, as Debian has it, at the pages of the real cloud."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from tests.e2e.real_cloud import RealCloud, Vm
from tests.waiting import eventually

DRIVER = Path("/usr/bin/chromedriver")
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1000,720",
    "--force-device-scale-factor=1", "--no-first-run", "--disable-background-networking",
)  # fmt: skip
PASSWORD = "Cumulet-12"
SAME_PIXELS = """
const [png, done] = arguments, image = new Image(), shown = document.querySelector("canvas");
image.onload = () => {
  const room = Object.assign(document.createElement("canvas"), {width: image.width, height: image.height});
  const context = room.getContext("2d");
  context.drawImage(image, 0, 0);
  const wanted = context.getImageData(0, 0, room.width, room.height).data;
  if (shown.width !== room.width || shown.height !== room.height) return done([0, 0]);
  const seen = shown.getContext("2d").getImageData(0, 0, room.width, room.height).data;
  let same = 0, lit = 0;
  for (let at = 0; at < seen.length; at += 4) {
    same += [0, 1, 2].every((part) => Math.abs(seen[at + part] - wanted[at + part]) < 8);
    lit += seen[at] + seen[at + 1] + seen[at + 2] > 0;
  }
  done([same / (seen.length / 4), lit]);
};
image.src = "data:image/png;base64," + png;
"""


@dataclass(frozen=True)
class Browser:
    """One window."""

    chrome: Chrome

    def open(self, url: str) -> None:
        """Open a page anew, also when only the ticket in its URL differs."""
        self.chrome.get("about:blank")
        self.chrome.get(url)

    def find(self, selector: str) -> WebElement:
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        self.find(selector).click()

    def state(self) -> str:
        """`connecting`, `open` or `ended`."""
        return self.find("body").get_attribute("data-state") or ""

    def wait_open(self) -> None:
        eventually(lambda: self.state() == "open")

    def message(self) -> str:
        """What the page says in the place of a console."""
        return self.find("#message p").text

    def wait_message(self) -> str:
        """The words with which a console ended."""
        return eventually(self.message)

    def type(self, text: str) -> None:
        """Type at whatever has the keys, and Enter after it."""
        self.chrome.switch_to.active_element.send_keys(text + Keys.ENTER)

    def terminal(self) -> str:
        """What the serial console's terminal shows."""
        return self.find(".xterm-rows").text

    def likeness(self, png: bytes) -> tuple[float, int]:
        """Which share of the canvas is as in the picture, and how many of its dots are not black."""
        same, lit = self.chrome.execute_async_script(SAME_PIXELS, base64.b64encode(png).decode())
        return same, lit

    def picture(self, path: Path) -> None:
        self.chrome.save_screenshot(str(path))


def at(vm: Vm, terminal: str) -> str:
    """The programs that read a terminal of the guest."""
    each = f'[ "$(readlink $p/fd/0)" = /dev/{terminal} ] && tr "\\0" " " <$p/cmdline'
    return vm.output_of(f"for p in /proc/[0-9]*; do {each}; done; true")


def takes_password(vm: Vm, terminal: str) -> bool:
    """Whether a terminal of the guest has stopped to show what is typed: what comes before is thrown away."""
    return "login" in at(vm, terminal) and "-echo" in vm.output_of(f"stty -a -F /dev/{terminal}").split()


def log_in(browser: Browser, vm: Vm, terminal: str) -> None:
    """Become root at a terminal of the guest."""
    eventually(lambda: "getty" in at(vm, terminal))
    browser.type("root")
    eventually(lambda: takes_password(vm, terminal))
    browser.type(PASSWORD)
    eventually(lambda: "sh" in at(vm, terminal))


@pytest.fixture(scope="module")
def chrome(tmp_path_factory) -> Iterator[Chrome]:
    """A window for the tests of a module: the page that it shows last follows its server, and draws, until the window is closed."""
    if not DRIVER.exists():
        pytest.fail("this test needs Debian's chromium-driver: run scripts/test-packages")
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options, Service(str(DRIVER)))
    chrome.set_script_timeout(20)
    yield chrome
    chrome.quit()


@pytest.fixture
def browser(chrome) -> Browser:
    return Browser(chrome)


@pytest.fixture(scope="module")
def vm(real_cloud: RealCloud) -> Vm:
    """A guest in which one can log in by SSH, and by password at its consoles."""
    return real_cloud.create("guest", password=PASSWORD).wait_for_ssh()


@pytest.fixture
def link(real_cloud: RealCloud, vm: Vm) -> Callable[[], str]:
    """Ask for a link as its owner does."""
    return lambda: real_cloud.ask("GET", f"{vm.path}/connect")["connectUrl"]
