"""What changes is told to a page as it changes, and only that."""

import asyncio
import re
from contextlib import contextmanager

import pytest
from tests.waiting import PATIENCE_S

from cumulet.feed import stream
from cumulet.monitoring.series import STEP
from cumulet.projects import Role
from cumulet.vms import operations
from cumulet.web import live
from cumulet.web.live import PAUSE, Look
from cumulet.web.pages.vm_list import vm_list
from cumulet.web.visit import Visit

VMS = "/p/default/vms"


def stream_of(browser, page):
    """The address of a page's stream."""
    return re.search(r'hx-sse:connect="([^"]+)"', browser.get(page).text)[1].replace("&amp;", "&")


@contextmanager
def following(browser, page=VMS):
    """Follow a page from how it was sent; gives its messages."""
    stream = stream_of(browser, page)
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
    stream = stream_of(browser, VMS)
    cloud.create()
    with browser.client.stream("GET", stream, headers=browser.headers({})) as answer:
        assert "hello" in next(messages(answer.iter_lines()))


@pytest.mark.parametrize("cookie", ["", "nobody's"])
def test_nobody_else_is_told(stranger, cookie):
    stranger.session = cookie
    assert stranger.get(f"/live{VMS}").status_code == 401


def test_who_signs_out_is_told_nothing_more(signed_in, cloud):
    browser = signed_in()
    with following(browser) as told:
        browser.send("/logout", on=VMS)
        cloud.create()
        assert list(told) == []


def test_a_page_is_looked_at_by_itself_only_while_something_on_it_is_under_way(signed_in, cloud):
    browser = signed_in()
    cloud.running()
    assert Look.of(browser.get(f"{VMS}/hello").text).again is None
    cloud.ask(operations.stop_vm)
    assert Look.of(browser.get(VMS).text).again == PAUSE
    assert Look.of(browser.get(f"{VMS}/hello").text).again == PAUSE
    cloud.settle()
    assert Look.of(browser.get(VMS).text).again is None


def test_a_page_of_what_a_vm_used_is_looked_at_as_often_as_that_is_measured(signed_in, cloud):
    browser = signed_in()
    cloud.running()
    for page in (VMS, f"{VMS}/hello/graphs"):
        assert Look.of(browser.get(page).text).again == STEP


def test_a_page_is_looked_at_in_time_however_often_nothing_happens(signed_in, cloud, monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT", 0.05)
    monkeypatch.setattr(live, "_again", lambda _: 0.2)
    monkeypatch.setattr(live, "PAUSE", 0.01)
    browser = signed_in()
    cloud.running()
    with following(browser, f"{VMS}/hello/graphs") as told:
        for _ in range(3):
            cloud.clock.advance(STEP)
            cloud.measure()
        assert 'id="graph-CPU"' in next(told)


def test_of_graphs_those_are_told_that_changed(signed_in, cloud):
    browser = signed_in()
    cloud.running()
    for _ in range(3):
        cloud.clock.advance(STEP)
        cloud.measure()
    before = Look.of(browser.get(f"{VMS}/hello/graphs").text)
    assert Look.of(browser.get(f"{VMS}/hello/graphs").text).changes(before) == ""
    cloud.clock.advance(2 * STEP)
    cloud.measure()
    changes = Look.of(browser.get(f"{VMS}/hello/graphs").text).changes(before)
    assert 'id="graph-CPU"' in changes
    assert 'id="head"' not in changes


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


def test_one_more_window_waits_for_nothing_to_happen(signed_in, cloud, monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT", 3600)
    browser = signed_in()
    with following(browser), following(browser), following(browser) as told:
        cloud.create()
        assert "hello" in next(told)


def test_nothing_is_shared_between_people(signed_in, cloud):
    ann, bob = signed_in(), signed_in(Role.VIEWER, "bob")
    with following(ann) as hers, following(bob) as theirs:
        cloud.running()
        assert 'name="token"' in next(hers)
        assert 'name="token"' not in next(theirs)


def test_a_window_that_opens_later_is_told_what_it_has_not_seen(signed_in, cloud):
    browser = signed_in()
    stream = stream_of(browser, VMS)
    with following(browser) as told:
        cloud.create()
        next(told)
        with browser.client.stream("GET", stream, headers=browser.headers({})) as answer:
            assert "hello" in next(messages(answer.iter_lines()))


def test_a_browser_that_comes_again_is_told_what_it_does_not_show(signed_in, cloud):
    browser = signed_in()
    stream = stream_of(browser, VMS)
    with browser.client.stream("GET", stream, headers=browser.headers({})) as answer:
        lines = answer.iter_lines()
        shown = next(line for line in lines if line.startswith("id: ")).removeprefix("id: ")
    cloud.create()
    with browser.client.stream("GET", stream, headers=browser.headers({"last-event-id": shown})) as answer:
        assert "hello" in next(messages(answer.iter_lines()))


def test_whose_thing_is_gone_is_told_so_and_not_to_come_again_and_again(signed_in, cloud):
    browser = signed_in()
    cloud.running()
    page = f"{VMS}/hello"
    stream = stream_of(browser, page)
    with following(browser, page) as told:
        cloud.ask(operations.terminate_vm)
        cloud.settle()
        assert "Gone" not in "".join(told)
    answer = browser.client.get(stream, headers=browser.headers({}))
    assert answer.status_code == 404
    assert "location" not in answer.headers


def test_a_stream_of_a_server_that_stops_is_refused_until_another_is_there(signed_in, cloud, feed):
    browser = signed_in()
    stream = stream_of(browser, VMS)
    with following(browser) as told:
        feed.close()
        assert list(told) == []
    assert browser.client.get(stream, headers=browser.headers({})).status_code == 503


def test_who_asks_for_a_stream_and_leaves_before_it_begins_leaves_nothing_behind(
    signed_in, cloud, asking, monkeypatch
):
    monkeypatch.setattr(live, "PAUSE", 0.01)
    visit = Visit(asking, VMS, {"project_id": "default"}, {}, "", "", signed_in().session)

    async def ask_and_leave():
        await live.LiveStreams().follow(visit, vm_list, "")
        _, still_there = await asyncio.wait(
            asyncio.all_tasks() - {asyncio.current_task()}, timeout=PATIENCE_S
        )
        assert still_there == set()

    asyncio.run(ask_and_leave())
