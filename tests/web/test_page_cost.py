"""What a page takes of the server: what it shows is read once for as long as nothing changes."""

import pytest

VMS = "/p/default/vms"
PAGES = [VMS, f"{VMS}/hello", f"{VMS}/hello/timeline", "/p/default/disks", "/p/default/networks"]


@pytest.fixture
def counted(cloud, monkeypatch):
    """What was read of the database."""
    looks = []
    reading = cloud.database.reading
    monkeypatch.setattr(cloud.database, "reading", lambda: looks.append(None) or reading())
    return looks


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_is_asked_for_again_reads_nothing_that_cannot_have_changed(
    signed_in, cloud, counted, page
):
    browser = signed_in()
    cloud.running()
    browser.get(page)  # that the session is used is written down, and so a commit
    assert browser.get(page).status_code == 200
    counted.clear()
    assert browser.get(page).status_code == 200
    of_the_clock = {VMS: 2, f"{VMS}/hello": 1}.get(page, 0)  # what was spent and used so far
    assert len(counted) == of_the_clock


def test_what_is_kept_for_pages_ends_with_the_session_that_is_not_used(signed_in, cloud):
    browser = signed_in()
    assert browser.get("/sessions").status_code == 200
    cloud.clock.advance(12 * 3600 + 1)
    assert browser.get("/sessions").status_code == 303


def test_what_is_kept_for_pages_is_nobody_elses(signed_in, stranger):
    assert "ann" in signed_in().get("/account").text
    assert "bob" in signed_in(name="bob").get("/account").text
    assert stranger.get("/account").status_code == 303
