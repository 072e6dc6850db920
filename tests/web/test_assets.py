"""What pages load: from here alone, kept for good, compressed."""

import gzip
import re

import pytest

from cumulet.web.assets import ASSETS, ROOT, takes_gzip

RULES = ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'")


def test_all_that_a_page_loads_is_here_and_kept_for_good(signed_in):
    browser = signed_in()
    page = browser.get("/p/default/vms").text
    found = set(re.findall(r'(?:src|href)="(/assets/[^"#]+)', page))
    assert len(found) >= 6
    for one in found:
        answer = browser.get(one)
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
    assert not re.search(r'(?:src|href)="(?!/|#|data:)', page)


KB = 1000
FIRST_LOAD = 200 * KB
LATER = 30 * KB
TO_BE_USED = 15 * KB
"""What a browser loads before it shows a page and lets it be used."""
PAGES = ["vms", "vms/hello", "vms/hello/graphs", "vms/hello/console", "disks", "networks", "new-vm"]


def weight(browser, path):
    """How many bytes come over the wire."""
    with browser.client.stream("GET", path, headers=browser.headers({})) as answer:
        answer.read()
        assert answer.status_code == 200
        return answer.num_bytes_downloaded


@pytest.mark.parametrize("page", PAGES)
def test_a_page_waits_for_few_and_small_files_and_is_light(signed_in, cloud, page):
    browser = signed_in()
    cloud.running()
    path = f"/p/default/{page}"
    head = browser.get(path).text.partition("</head>")[0]
    scripts = re.findall(r'<script src="([^"]+)"([^>]*)>', head)
    waited_for = [url for url, how in scripts if "defer" not in how and "module" not in how]
    styles = re.findall(r'<link rel="stylesheet" href="([^"]+)">', head)
    fonts = re.findall(r'<link rel="preload" href="([^"]+)" as="font"', head)
    assert len(waited_for) == 1
    assert len(styles) <= (3 if "graph" in head else 1)
    assert sum(weight(browser, one) for one in [*waited_for, *styles]) <= TO_BE_USED
    later = weight(browser, path)
    files = {*(url for url, _ in scripts), *styles, *fonts, ASSETS.url("icons.svg")}
    assert later <= LATER
    assert later + sum(weight(browser, one) for one in files) <= FIRST_LOAD


def test_pages_run_nothing_that_is_written_into_them(signed_in):
    answer = signed_in().get("/p/default/vms")
    policy = answer.headers["content-security-policy"]
    assert all(rule in policy for rule in RULES)
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", answer.text)


def test_icons_that_pages_draw_are_there():
    templates = (ROOT.parent / "templates").rglob("*.html")
    text = "".join(path.read_text() for path in templates)
    drawn = set(re.findall(r"icon\('([a-z0-9-]+)'", text))
    there = set(re.findall(r'<symbol id="([^"]+)"', ASSETS.files["icons.svg"].decode()))
    assert drawn - there == set()
    assert b"<!--" not in ASSETS.files["icons.svg"]


def test_files_of_another_version_and_files_beside_them_are_not_served(stranger):
    assert stranger.get("/assets/0000000000000000/app.css").status_code == 404
    assert stranger.get(ASSETS.url("..%2fconsole.py")).status_code == 404


def test_the_first_page_with_all_that_it_loads_takes_no_more_than_200_kb_on_the_way(signed_in):
    browser = signed_in()
    loaded = [
        "app.css",
        "scheme.js",
        "app.js",
        "icons.svg",
        "logo.svg",
        "htmx.js",
    ]
    font = len(ASSETS.files["lib/inter/inter-latin-wght-normal.woff2"])
    page = gzip.compress(browser.get("/p/default/vms").content)
    assert len(page) + font + sum(len(ASSETS.compressed(one)) for one in loaded) <= 200_000


def test_who_takes_no_gzip_gets_none():
    assert takes_gzip("gzip, deflate, br")
    assert takes_gzip("br;q=1, gzip;q=0.5")
    assert not takes_gzip("gzip;q=0, identity")
    assert not takes_gzip("")
