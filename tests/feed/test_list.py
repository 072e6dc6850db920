"""The list of a project's events."""

from datetime import timedelta

import httpx
from tests.feed.conftest import record
from tests.made_up import NOON, PROJECT
from tests.projects.people import add_user

from cumulet.events import EventName
from cumulet.feed import operations
from cumulet.permission import CloudRole
from cumulet.projects import operations as project_verbs
from cumulet.projects.wire import CreateProject

EVENTS = f"/v1/projects/{PROJECT}/events"


def test_an_auditor_lists_the_events_of_all_projects_and_of_the_installation(cloud):
    owner = cloud.owner
    with cloud.database.writing() as db:
        ann = add_user(db, "ann", CloudRole.AUDITOR)
    for project in ("mine", "theirs", ""):
        record(cloud, f"of {project}", project=project)
    seen = cloud.call(operations.list_all_events, ann, event=["vm.started"]).events
    assert [one.text for one in seen] == ["of mine", "of theirs", "of "]
    mine = cloud.call(operations.list_events, owner, project_id=PROJECT).events
    assert not [one.text for one in mine if one.project_id != PROJECT]


def test_who_takes_the_name_of_a_project_that_is_gone_learns_nothing_of_that(cloud, url, follow):
    with cloud.database.writing() as db:
        bob, eve = add_user(db, "bob"), add_user(db, "eve")
    past = "/v1/projects/gone/events"
    cloud.call(project_verbs.create_project, bob, data=CreateProject(id="gone"))
    reader = follow(key="bob", path=f"{past}/stream")
    record(cloud, "of bob", project="gone")
    assert reader.texts(1) == ["of bob"]
    cloud.call(project_verbs.delete_project, bob, id="gone")
    cloud.clock.advance(60)
    cloud.call(project_verbs.create_project, eve, data=CreateProject(id="gone"))
    record(cloud, "of eve", project="gone")
    made = "eve@example.org created the project gone"
    with httpx.Client(base_url=url, headers={"authorization": "Bearer eve"}, timeout=60) as client:
        assert [one["text"] for one in client.get(past).json()["events"]] == [made, "of eve"]
    for place in ("0", reader.last):  # from the database, and from what is at hand
        assert follow(key="eve", path=f"{past}/stream", last=place).texts(2) == [made, "of eve"]


def texts(api, **query):
    return [one["text"] for one in api.get(EVENTS, params=query).json()["events"]]


def test_events_are_listed_oldest_first_and_in_pages(cloud, api):
    record(cloud, "one", "two", "three")
    record(cloud, "theirs", project="other")
    first = api.get(EVENTS, params={"pageSize": 2}).json()
    assert [one["text"] for one in first["events"]] == ["one", "two"]
    second = api.get(EVENTS, params={"pageSize": 2, "pageToken": first["pageToken"]}).json()
    assert [one["text"] for one in second["events"]] == ["three"]
    assert not second["pageToken"]


def test_newest_first_each_page_goes_further_back(cloud, api):
    record(cloud, "one", "two", "three")
    first = api.get(EVENTS, params={"pageSize": 2, "newestFirst": "true"}).json()
    assert [one["text"] for one in first["events"]] == ["three", "two"]
    record(cloud, "four")
    rest = texts(api, pageSize=2, newestFirst="true", pageToken=first["pageToken"])
    assert rest == ["one"]


def test_events_are_chosen_by_resource_kind_name_and_time(cloud, api):
    cloud.create()
    cloud.create_disk("data")
    cloud.clock.advance(3600)
    record(cloud, "late", event=EventName.VM_STOPPED)
    later = (NOON + timedelta(seconds=1800)).isoformat()
    assert {one["kind"] for one in api.get(EVENTS, params={"kind": "disk"}).json()["events"]} == {"disk"}
    assert all(
        one["resourceId"] == "hello" for one in api.get(EVENTS, params={"resource": "hello"}).json()["events"]
    )
    assert texts(api, resource="hello")
    assert texts(api, event="vm.stopped") == ["late"]
    assert texts(api, since=later) == ["late"]
    assert "late" not in texts(api, until=later)
    assert texts(api, until=later)


def test_names_of_nothing_are_refused_with_the_nearest(api):
    answer = api.get(EVENTS, params={"kind": "vms"})
    assert answer.status_code == 400
    assert "kind" in answer.json()["message"]
    assert "'vm'" in answer.json()["message"]
