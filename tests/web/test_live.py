"""What changes is told to a page as it changes, and only that."""

import re
from contextlib import contextmanager

import pytest

from cumulet.projects import Role
from cumulet.vms import operations
from cumulet.web.live import Look

VMS = "/p/default/vms"


@contextmanager
def following(browser, page=VMS):
    """Follow a page from how it was sent; gives its messages."""
    stream = re.search(r'hx-sse:connect="([^"]+)"', browser.get(page).text)[1].replace("&amp;", "&")
    with browser.client.stream("GET", stream, headers=browser.headers({})) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert [line for line in iter(lambda: next(lines), "") if line.startswith("data:")] == []
        yield messages(lines)


def messages(lines):
    """What is said, without what only shows that the stream is there."""
    said = []
    for line in lines:
        if line.startswith("data: "):
            said.append(line.removeprefix("data: "))
        elif not line and said:
            yield "\n".join(said)
            said = []


def test_a_row_that_changed_is_told_and_no_other(signed_in, cloud):
    browser = signed_in()
    cloud.running(vm_id="one")
    cloud.running(vm_id="two")
    with following(browser) as told:
        cloud.ask(operations.stop_vm, "one")
        first = next(told)
        assert 'id="vm-one"' in first
        assert "Stopping" in first
        assert "vm-two" not in first


def test_a_vm_that_is_new_makes_the_list_anew(signed_in, cloud):
    browser = signed_in()
    with following(browser) as told:
        cloud.create()
        assert "hello" in (whole := next(told))
        assert '<div id="live">' in whole


def test_what_happened_between_the_page_and_its_stream_is_not_lost(signed_in, cloud):
    browser = signed_in()
    stream = re.search(r'hx-sse:connect="([^"]+)"', browser.get(VMS).text)[1].replace("&amp;", "&")
    cloud.create()
    with browser.client.stream("GET", stream, headers=browser.headers({})) as answer:
        assert "hello" in next(messages(answer.iter_lines()))


@pytest.mark.parametrize("cookie", ["", "nobody's"])
def test_nobody_else_is_told(stranger, cookie):
    stranger.session = cookie
    assert stranger.get(f"/live{VMS}").status_code == 303


def test_who_signs_out_is_told_nothing_more(signed_in, cloud):
    browser = signed_in()
    with following(browser) as told:
        browser.send("/logout", on=VMS)
        cloud.create()
        assert list(told) == []


def test_a_page_is_looked_at_by_itself_only_while_something_on_it_is_under_way(signed_in, cloud):
    browser = signed_in()
    cloud.running()
    assert not Look.of(browser.get(VMS).text).is_under_way
    assert not Look.of(browser.get(f"{VMS}/hello").text).is_under_way
    cloud.ask(operations.stop_vm)
    assert Look.of(browser.get(VMS).text).is_under_way
    assert Look.of(browser.get(f"{VMS}/hello").text).is_under_way


def counted(monkeypatch):
    """Count how often pages are made anew."""
    made = []
    of = Look.of
    monkeypatch.setattr(Look, "of", lambda html: made.append(html) or of(html))
    return made


def test_windows_that_show_the_same_to_the_same_person_share_one_look(signed_in, cloud, monkeypatch):
    browser = signed_in()
    made = counted(monkeypatch)
    with following(browser) as one, following(browser) as two, following(browser) as three:
        looks = len(made)
        cloud.create()
        assert next(one) == next(two) == next(three)
        assert len(made) == looks + 1


def test_nothing_is_shared_between_people(signed_in, cloud):
    ann, bob = signed_in(), signed_in(Role.VIEWER, "bob")
    with following(ann) as hers, following(bob) as theirs:
        cloud.running()
        assert 'name="token"' in next(hers)
        assert 'name="token"' not in next(theirs)


def test_a_window_that_opens_later_is_told_what_it_has_not_seen(signed_in, cloud):
    browser = signed_in()
    stream = re.search(r'hx-sse:connect="([^"]+)"', browser.get(VMS).text)[1].replace("&amp;", "&")
    with following(browser) as told:
        cloud.create()
        next(told)
        with browser.client.stream("GET", stream, headers=browser.headers({})) as answer:
            assert "hello" in next(messages(answer.iter_lines()))


def test_a_browser_that_comes_again_is_told_what_it_does_not_show(signed_in, cloud):
    browser = signed_in()
    stream = re.search(r'hx-sse:connect="([^"]+)"', browser.get(VMS).text)[1].replace("&amp;", "&")
    with browser.client.stream("GET", stream, headers=browser.headers({})) as answer:
        lines = answer.iter_lines()
        shown = next(line for line in lines if line.startswith("id: ")).removeprefix("id: ")
    cloud.create()
    with browser.client.stream("GET", stream, headers=browser.headers({"last-event-id": shown})) as answer:
        assert "hello" in next(messages(answer.iter_lines()))
