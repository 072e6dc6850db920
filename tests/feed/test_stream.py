"""What a stream tells: all that happens in its project, each once, from where its reader left."""

from contextlib import ExitStack

import httpx
import pytest
from sqlalchemy import delete
from tests.feed.conftest import STREAM, TOY, record, served
from tests.made_up import PROJECT
from tests.projects.people import add_user
from tests.waiting import eventually

from cumulet import journal
from cumulet.events import EventName
from cumulet.feed import feed, newest, operations, stream
from cumulet.permission import CloudRole, Role
from cumulet.projects.model import ApiKey, Membership
from cumulet.vms import operations as vm_verbs

STREAMS = {
    "/v1/projects/other/events/stream": operations.follow_events,
    "/v1/events/stream": operations.follow_all_events,
}


def test_what_happens_is_told_as_it_happens_with_the_journals_data(cloud, follow):
    reader = follow()
    cloud.create()
    while (told := reader.told())["kind"] != "vm":
        assert told["resourceId"] == "hello-boot"
    assert (told["event"], told["resourceId"]) == ("vm.create_requested", "hello")
    assert (told["projectId"], told["actor"]) == (PROJECT, cloud.owner.email)
    assert (told["data"]["vcpus"], told["data"]["machine_type"]) == (2, "standard")
    assert reader.last == told["id"]


def test_a_whole_life_is_told_without_hosts_and_secrets(cloud, follow):
    reader = follow()
    cloud.create(password="Hunter-22")
    cloud.settle()
    cloud.ask(vm_verbs.terminate_vm)
    cloud.settle()
    whole = []
    while not whole or whole[-1]["event"] != "vm.deleted":
        whole.append(reader.told())
    assert "vm.started" in [one["event"] for one in whole]
    for secret in ("Hunter-22", cloud.host.facts().name, str(cloud.host_id)):
        assert secret not in str(whole)


def test_it_begins_with_what_happens_from_now_on(cloud, follow):
    record(cloud, "before")
    reader = follow()
    record(cloud, "after")
    assert reader.texts(1) == ["after"]


def test_who_comes_again_is_told_what_they_missed_and_nothing_twice(cloud, follow):
    reader = follow()
    record(cloud, "one", "two")
    assert reader.texts(1) == ["one"]
    record(cloud, "three")
    again = follow(last=reader.last)
    record(cloud, "four")
    assert again.texts(3) == ["two", "three", "four"]


def test_a_browsers_word_counts_over_what_its_url_says(cloud, follow):
    record(cloud, "one", "two")
    first = follow(last="0")
    first.texts(1)
    assert follow(last=first.last, lastEventId="0").texts(1) == ["two"]


def test_it_begins_at_an_instant_if_that_is_asked_for(cloud, follow):
    record(cloud, "before")
    cloud.clock.advance(60)
    noon = cloud.clock()
    record(cloud, "at noon")
    assert follow(since=noon.isoformat()).texts(1) == ["at noon"]


def test_who_was_away_for_long_is_told_all_of_it(cloud, follow, monkeypatch):
    monkeypatch.setattr(newest, "AT_HAND", 10)
    monkeypatch.setattr(feed, "AT_HAND", 10)
    monkeypatch.setattr(feed, "AT_ONCE", 7)
    awake, numbers = follow(), [str(number) for number in range(60)]
    with cloud.database.writing() as db:
        for number in numbers:
            log(db, cloud, number)
    assert awake.texts(60) == numbers
    assert follow(last="0").texts(60) == numbers


def log(db, cloud, text):
    journal.log_event(
        db, EventName.VM_STARTED, at=cloud.clock(), project_id=PROJECT, subject_id=TOY, text=text
    )


def test_other_projects_are_not_told_of(cloud, follow):
    reader = follow()
    record(cloud, "theirs", project="other")
    record(cloud, "the cloud's", project="")
    record(cloud, "ours")
    assert reader.texts(1) == ["ours"]


def test_only_what_is_asked_for_is_told(cloud, follow):
    starts, hello = follow(event="vm.started"), follow(resource="hello", kind="vm")
    cloud.create(vm_id="other")
    cloud.create()
    cloud.settle()
    assert [starts.told()["event"] for _ in range(2)] == ["vm.started"] * 2
    assert {hello.told()["resourceId"] for _ in range(2)} == {"hello"}


def test_what_never_happens_cannot_be_asked_for(api):
    answer = api.get(STREAM, params={"event": "vm.startet"})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert "'vm.started'" in answer.json()["message"]


@pytest.mark.parametrize("last", ["9999999", "-1", "one", "9" * 30])
def test_a_number_that_nothing_has_yet_is_refused(cloud, api, last):
    record(cloud, "one")
    answer = api.get(STREAM, headers={"last-event-id": last})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert "lastEventId" in answer.json()["message"]


def test_a_project_that_one_does_not_see_has_no_stream(cloud, api):
    refused = [(api.get(path).status_code, verb) for path, verb in STREAMS.items()]
    assert refused == [(404, operations.follow_events), (403, operations.follow_all_events)]


def test_who_runs_the_cloud_is_told_of_all_projects_and_of_the_installation(cloud, follow):
    with cloud.database.writing() as db:
        add_user(db, "root", CloudRole.AUDITOR)
    record(cloud, "before")
    reader = follow(key="root", path="/v1/events/stream", last="0")
    while reader.told()["text"] != "before":
        pass
    record(cloud, "theirs", project="other")
    record(cloud, "the cloud's", project="")
    assert reader.texts(2) == ["theirs", "the cloud's"]


def test_a_silent_stream_shows_that_it_is_there_and_how_far_it_is(cloud, follow, monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT", 0.1)
    reader = follow()
    place = reader.last
    record(cloud, "theirs", project="other")
    eventually(lambda: reader.block() and reader.last > place)


def test_a_revoked_key_ends_its_streams_with_words(cloud, follow, monkeypatch):
    monkeypatch.setattr(feed, "CHECK_SECONDS", 0.1)
    reader, others = follow(), follow(key=another(cloud))
    with cloud.database.writing() as db:
        db.execute(delete(ApiKey).where(ApiKey.id == "key-of-ann"))
    assert reader.block() == {
        "event": "end",
        "data": reader_end(16, "this API key is not valid; expected the header 'Authorization: Bearer KEY'"),
    }
    assert not reader.block()
    record(cloud, "on it goes")
    assert others.texts(1) == ["on it goes"]


def another(cloud) -> str:
    with cloud.database.writing() as db:
        add_user(db, "bob", default=Role.VIEWER)
    return "bob"


def reader_end(code: int, message: str) -> str:
    return f'{{"code":{code},"message":"{message}","details":[]}}'


def test_who_leaves_the_project_leaves_its_streams(cloud, follow, monkeypatch):
    monkeypatch.setattr(feed, "CHECK_SECONDS", 0.1)
    reader = follow()
    with cloud.database.writing() as db:
        db.execute(delete(Membership).where(Membership.role == Role.VIEWER))
    block = reader.block()
    assert block["event"] == "end"
    assert '"code":5' in block["data"]


def test_streams_of_a_user_are_bounded_and_room_is_made_by_closing_one(cloud, url):
    with served(cloud, most_of_one=2) as narrow, ExitStack() as streams:
        ann = httpx.Client(base_url=narrow, headers={"authorization": "Bearer ann"}, timeout=60)
        client = streams.enter_context(ann)
        first, second = (streams.enter_context(client.stream("GET", STREAM)) for _ in range(2))
        lines = [one.iter_lines() for one in (first, second)]
        assert [next(each) for each in lines] == ["retry: 2000"] * 2
        answer = client.get(STREAM)
        assert (answer.status_code, answer.json()["code"]) == (429, 8)
        first.close()

        def opens() -> bool:
            with client.stream("GET", STREAM) as again:
                return again.status_code == 200

        eventually(opens)


def test_streams_leave_their_callers_turn_to_others(cloud, url, api, follow):
    readers = [follow() for _ in range(8)]
    assert api.get(f"/v1/projects/{PROJECT}/events").status_code == 200
    record(cloud, "one")
    assert [reader.texts(1) for reader in readers] == [["one"]] * 8


def test_a_server_that_ends_says_so_and_waits_for_no_stream(cloud, follow):
    with served(cloud) as url:
        reader = follow(url)
    assert reader.block()["event"] == "end"


def test_another_process_tells_of_what_this_one_did(cloud, open_database, follow):
    with served(cloud, open_database()) as url:
        reader = follow(url)
        record(cloud, "one")
        assert reader.texts(1) == ["one"]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_an_event_that_appears_after_later_ones_is_told_before_them(cloud, follow):
    reader = follow()
    with cloud.database.writing() as slow:
        log(slow, cloud, "slow")
        record(cloud, "fast")
        again = follow(last=reader.last)
    assert reader.texts(2) == ["slow", "fast"]
    assert again.texts(2) == ["slow", "fast"]
