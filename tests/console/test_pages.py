"""The pages of consoles: all that they load is here, and nothing of theirs leaves."""

import json
import re
from pathlib import Path

import httpx
import pytest

PAGES = ["/console/default/hello/screen", "/console/default/hello/serial"]


@pytest.fixture
def browser(url):
    with httpx.Client(base_url=url) as browser:
        yield browser


def references(text: str) -> list[str]:
    """What a page or a module loads."""
    in_pages = re.findall(r'(?:src|href)="((?!data:)[^"]+\.(?:js|css))"', text)
    return in_pages + re.findall(r"""(?:import|from)\s+["'](\.[^"']+)["']""", text)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_page_loads_only_files_that_are_here_and_all_of_them(browser, page):
    seen, to_load = {}, [httpx.URL(page)]
    while to_load:
        address = to_load.pop()
        if address.path in seen:
            continue
        answer = browser.get(address)
        assert answer.status_code == 200, f"{address}: run `make env`"
        seen[address.path] = answer
        small = address.path.endswith(("xterm.mjs", ".css"))
        to_load += [address.join(one) for one in ([] if small else references(answer.text))]
    assert len(seen) >= 5
    assert all(path == page or path.startswith("/console/files/") for path in seen)


@pytest.mark.parametrize("page", [*PAGES, "/console/files/line.js"])
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_browser_is_told_to_load_nothing_from_elsewhere_and_to_tell_nobody(browser, page):
    headers = browser.get(page).headers
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_nothing_beside_the_files_can_be_read(browser):
    assert browser.get("/console/files/..%2fconsole.py").status_code == 404
    assert browser.get("/console/files/%2e%2e/console.py").status_code == 404


def test_what_npm_brings_is_known_by_its_content_and_from_no_registry_in_particular():
    lock = json.loads((Path(__file__).parents[2] / "package-lock.json").read_text())
    brought = [one for path, one in lock["packages"].items() if path]
    assert len(brought) >= 2
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in brought)
