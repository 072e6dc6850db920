"""How soon a page can be used in a browser that has it for the first time: in Chromium, as Debian has it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from bench.figure import Figure, at_most, say
from bench.server import Server, wait_until
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from tests.browser.conftest import DRIVER, OPTIONS

INTERACTIVE: Final = "return performance.getEntriesByType('navigation')[0].domInteractive"
TIMES: Final = 9
MOST_MS: Final = 300


def interactive(server: Server, page: str) -> Figure:
    """Load a page again and again with nothing at hand."""
    say("web: in Chromium")
    with chromium() as chrome:
        ticket = server.api.post("/v1/sessions/tickets", json={}).raise_for_status().json()
        chrome.get(ticket["url"])
        wait_until(lambda: "/vms" in chrome.current_url, "Chromium is signed in")
        chrome.execute_cdp_cmd("Network.enable", {})
        times = [milliseconds(chrome, server.url + page) for _ in range(TIMES)]
    return at_most(
        "pages, list in Chromium: domInteractive of a first load, p50", median(times), MOST_MS, unit="ms"
    )


def milliseconds(chrome: Chrome, url: str) -> float:
    """Load a page for the first time."""
    chrome.execute_cdp_cmd("Network.clearBrowserCache", {})
    chrome.get(url)
    return float(chrome.execute_script(INTERACTIVE))


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Run a browser that nobody sees."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory() as folder:
        for option in (*OPTIONS, f"--user-data-dir={Path(folder) / 'chromium'}"):
            options.add_argument(option)
        chrome = Chrome(options, Service(str(DRIVER)))
        try:
            yield chrome
        finally:
            chrome.quit()
