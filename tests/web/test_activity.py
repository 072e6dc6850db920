"""The project's journal as a page."""

import html
import re

import pytest

from cumulet.projects import Role
from cumulet.web.pages.activity import PAGE_SIZE

ACTIVITY = "/p/default/activity"


def told(browser, query=""):
    """What the page tells, as pairs of an event's name and what it happened to."""
    text = browser.get(f"{ACTIVITY}{query}").text
    rows = re.findall(
        r'small mono">([\w.]+)</p>.*?title="All that happened to it">(\S+?)</a>', text, re.DOTALL
    )
    return [(event, html.unescape(thing)) for event, thing in rows]


def test_it_tells_what_happened_newest_first_and_who_asked(signed_in, cloud):
    browser = signed_in(Role.VIEWER)
    cloud.running(vm_id="web")
    cloud.create_disk("data")
    cloud.settle()
    events = told(browser)
    assert events[0] == ("disk.create_requested", "data")
    assert ("vm.create_requested", "web") in events
    assert "owner@localhost" in browser.get(ACTIVITY).text


def test_the_filter_takes_kinds_names_and_days(signed_in, cloud):
    browser = signed_in()
    cloud.running(vm_id="web")
    cloud.create_disk("data")
    assert {event.partition(".")[0] for event, _ in told(browser, "?of=disks")} == {"disk"}
    assert {thing for _, thing in told(browser, "?resource=web")} == {"web"}
    noon = "2026-03-01"
    assert told(browser, f"?since={noon}&until={noon}") == told(browser)
    assert told(browser, "?since=2026-03-02") == told(browser, "?until=2026-02-28") == []
    assert "Nothing fits" in browser.get(f"{ACTIVITY}?since=2026-03-02").text
    wrong = browser.get(f"{ACTIVITY}?since=soon")
    assert (wrong.status_code, "such as 2026-03-01" in wrong.text) == (400, True)


def test_what_is_older_is_a_page_further_with_the_filter_kept(signed_in, cloud):
    browser = signed_in()
    for number in range(PAGE_SIZE + 2):
        cloud.create_disk(f"disk-{number}")
    first = f"{ACTIVITY}?of=disks"
    assert told(browser, "?of=disks")[0] == ("disk.create_requested", f"disk-{PAGE_SIZE + 1}")
    older = html.unescape(re.search(r'href="([^"]+)" rel="next"', browser.get(first).text)[1])
    assert told(browser, older.removeprefix(ACTIVITY))[-1] == ("disk.create_requested", "disk-0")
    assert len(told(browser, "?of=disks")) == PAGE_SIZE


@pytest.mark.parametrize("project", ["other", "nowhere"])
def test_that_of_another_project_is_not_there(signed_in, project):
    assert signed_in().get(f"/p/{project}/activity").status_code == 404
