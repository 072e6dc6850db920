"""From the command line into the pages."""

import httpx
import pytest

from cumulet.cli import web


@pytest.fixture
def opened(monkeypatch):
    """What a browser was asked to open."""
    links = []
    monkeypatch.setattr(web.webbrowser, "open", links.append)
    return links


def test_a_link_signs_in_and_is_opened_where_there_is_a_screen(cumulet, opened, monkeypatch):
    link = cumulet("web").out.strip()
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    assert cumulet("web").out.strip() == opened[0]
    assert cumulet("web", "--no-open").code == 0
    assert len(opened) == 1
    page, _, ticket = link.partition("#")
    answer = httpx.post(page, data={"ticket": ticket}, headers={"origin": page.removesuffix("/login")})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
