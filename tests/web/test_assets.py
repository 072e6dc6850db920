"""What pages load: from here alone, kept for good, compressed."""

import gzip
import re

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
        "lib/htmx/htmx.min.js",
        "lib/htmx/hx-sse.min.js",
    ]
    font = len(ASSETS.files["lib/inter/inter-latin-wght-normal.woff2"])
    page = gzip.compress(browser.get("/p/default/vms").content)
    assert len(page) + font + sum(len(ASSETS.compressed(one)) for one in loaded) <= 200_000


def test_who_takes_no_gzip_gets_none():
    assert takes_gzip("gzip, deflate, br")
    assert takes_gzip("br;q=1, gzip;q=0.5")
    assert not takes_gzip("gzip;q=0, identity")
    assert not takes_gzip("")
