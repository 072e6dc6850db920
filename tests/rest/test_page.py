"""The page to try the API at: everything on it comes from this very server."""

import re

PAGE = "/docs"


def test_all_files_of_the_page_are_our_own(stranger):
    files = re.findall(r'(?:src|href)="([^"]+)"', stranger.get(PAGE).text)
    assert len(files) == 4
    for file in files:
        answer = stranger.get(file)
        assert file.startswith("/docs/")
        assert (answer.status_code, len(answer.content) > 100) == (200, True)


def test_the_browser_is_told_to_load_nothing_from_elsewhere(stranger):
    policy = stranger.get(PAGE).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_the_page_shows_the_document_that_is_served(stranger):
    assert 'url: "/openapi.json"' in stranger.get("/docs/try.js").text


def test_nothing_beside_the_page_can_be_read(stranger):
    assert stranger.get("/docs/..%2fapp.py").status_code == 404
    assert stranger.get("/docs/%2e%2e/app.py").status_code == 404
