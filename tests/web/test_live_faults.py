"""Streams of pages when much happens at once or things go wrong: servers are restarted, and windows read slowly."""

import asyncio

import httpx
from anyio import to_thread
from sqlalchemy import select
from tests.web.conftest import Browser, asking_of, feed_of, served
from tests.web.test_live import VMS, counted, following, stream_of

from cumulet.projects import Role
from cumulet.projects.model import Membership, Project, User
from cumulet.vms import change_operations
from cumulet.vms.wire import UpdateVmMetadata
from cumulet.web import live
from cumulet.web.pages.vm_list import vm_list
from cumulet.web.visit import Visit

CHANGES = 20


def label(cloud, text, id="hello"):
    """Have a VM show a text and no other."""
    data = UpdateVmMetadata(metadata={text: ""})
    cloud.call(change_operations.update_vm_metadata, project_id="default", id=id, data=data)


def shown(stream, browser, **headers):
    """What a window is told first: the name of how the page looks, and what has to be put into it."""
    with browser.client.stream("GET", stream, headers=browser.headers(headers)) as answer:
        lines = answer.iter_lines()
        first = [line for line in iter(lambda: next(lines), "") if not line.startswith(":")]
    return first[0].removeprefix("id: "), first[1:]


def test_a_page_goes_on_where_it_was_when_the_server_was_restarted(signed_in, cloud):
    browser = signed_in()
    cloud.running()
    stream = stream_of(browser, VMS)
    before, told = shown(stream, browser)
    assert told == []
    feed = feed_of(cloud)
    with served(cloud, feed, asking_of(cloud, feed)) as url, httpx.Client(base_url=url, timeout=60) as client:
        again = Browser(client, url, browser.session)
        assert shown(stream, again, **{"last-event-id": before}) == (before, [])
        label(cloud, "meanwhile")
        after, told = shown(stream, again, **{"last-event-id": before})
        assert after != before
        assert "".join(told).count("<!--part vm-hello-->") == 1
        assert shown(stream, again, **{"last-event-id": after}) == (after, [])


def test_what_happens_in_one_project_is_told_to_no_page_of_another(signed_in, cloud):
    browser = signed_in()
    with cloud.database.writing() as db:
        there = db.get_one(Project, "default")
        owner = there.created_by
        db.add(Project(id="other", billing_account_id="", created_by=owner, created_at=there.created_at))
        db.flush()
        ann = db.scalars(select(User.id).where(User.email == "ann@example.org")).one()
        roles = {owner: Role.OWNER, ann: Role.EDITOR}
        db.add_all(Membership(user_id=one, project_id="other", role=role) for one, role in roles.items())
    with following(browser) as here, following(browser, "/p/other/vms") as elsewhere:
        cloud.create(vm_id="here")
        assert "vm-here" in next(here)
        cloud.create(vm_id="elsewhere", project_id="other")
        first = next(elsewhere)
        assert "vm-elsewhere" in first
        assert "vm-here" not in first


def test_much_that_happens_at_once_is_told_together(signed_in, cloud, monkeypatch):
    browser = signed_in()
    names = [f"vm-{number}" for number in range(CHANGES)]
    for name in names:
        cloud.create(vm_id=name)
    cloud.settle()
    with following(browser) as told:
        made = counted(monkeypatch)
        for name in names:
            label(cloud, "changed", name)
        seen = ""
        while any(f'id="vm-{name}"' not in seen for name in names):
            seen += next(told)
        assert len(made) < CHANGES
        assert all(seen.count(f'id="vm-{name}"') == 1 for name in names)


def test_a_window_that_reads_slowly_holds_nobody_up_and_is_told_the_newest_alone(
    signed_in, cloud, asking, monkeypatch
):
    monkeypatch.setattr(live, "PAUSE", 0.01)
    visit = Visit(asking, VMS, {"project_id": "default"}, {}, "", "", signed_in().session)
    cloud.running()

    async def read():
        streams = live.LiveStreams()
        slow = await streams.follow(visit, vm_list, "")
        await anext(slow)
        quick = await streams.follow(visit, vm_list, "")
        await anext(quick)
        for number in range(CHANGES):
            await to_thread.run_sync(label, cloud, f"text-{number}.")
            while f"text-{number}.".encode() not in await anext(quick):
                pass
        newest = await anext(slow)
        assert f"text-{CHANGES - 1}.".encode() in newest
        assert b"text-0." not in newest
        await slow.aclose()
        await quick.aclose()

    asyncio.run(read())
