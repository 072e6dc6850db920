"""What callers of the API get: links, tickets and pictures."""

import hashlib

import httpx
import pytest
from sqlalchemy import select
from tests.made_up import PROJECT
from tests.projects.people import add_user

from cumulet.console import operations
from cumulet.console.tickets import Ticket
from cumulet.errors import Forbidden, NotFound, Refused, Unavailable
from cumulet.hypervisor import HypervisorError
from cumulet.projects import Role
from cumulet.projects.access import new_key
from cumulet.projects.model import ApiKey
from cumulet.vms import operations as verbs

CONSOLE_VERBS = [operations.connect_vm, operations.get_vm_screenshot]


def stop(cloud):
    cloud.ask(verbs.stop_vm)
    cloud.settle()


def test_a_link_leads_to_the_screen_with_its_ticket_where_no_server_sees_it(cloud):
    cloud.running()
    link = cloud.ask(operations.connect_vm)
    assert link.connect_url == f"http://cloud.example/console/default/hello/screen#{link.token}"


def test_a_link_leads_to_where_the_caller_found_us(cloud, url):
    cloud.running()
    key = new_key()
    with cloud.database.writing() as db:
        digest = hashlib.sha256(key.encode()).digest()
        db.add(ApiKey(user_id=cloud.owner.user_id, id="test", digest=digest, created_at=cloud.clock()))
    path = f"{url}/v1/projects/{PROJECT}/vms/hello/connect?connectionId=7"
    headers = {"authorization": f"Bearer {key}", "host": "cloud.example:8000"}
    answer = httpx.get(path, headers=headers).json()
    assert answer.keys() == {"connectUrl", "token"}
    assert answer["connectUrl"].startswith("http://cloud.example:8000/console/default/hello/screen#")


def test_tickets_differ_and_the_database_knows_none_of_them(cloud):
    cloud.running()
    tokens = {cloud.ask(operations.connect_vm).token for _ in range(3)}
    with cloud.database.reading() as db:
        digests = set(db.scalars(select(Ticket.digest)))
    assert digests == {hashlib.sha256(token.encode()).digest() for token in tokens}
    assert len(digests) == 3


def test_tickets_that_are_good_no_more_are_forgotten(cloud):
    cloud.running()
    for _ in range(3):
        cloud.ask(operations.connect_vm)
    cloud.clock.advance(301)
    cloud.ask(operations.connect_vm)
    assert cloud.count(Ticket) == 1


def test_a_vm_s_timeline_tells_who_asked_for_its_consoles(cloud):
    cloud.running()
    cloud.ask(operations.connect_vm)
    entry = cloud.ask(verbs.get_vm_timeline).entries[-1]
    assert (entry.event, entry.actor) == ("vm.console_requested", cloud.owner.email)


def test_a_viewer_may_look_but_not_type(cloud):
    cloud.running()
    with cloud.database.writing() as db:
        viewer = add_user(db, "vera", **{PROJECT: Role.VIEWER})
    assert cloud.ask(operations.get_vm_screenshot, caller=viewer)
    with pytest.raises(Forbidden, match="needs the role EDITOR"):
        cloud.ask(operations.connect_vm, caller=viewer)
    assert cloud.count(Ticket) == 0


@pytest.mark.parametrize("verb", CONSOLE_VERBS)
def test_what_one_may_not_see_is_not_there(cloud, verb):
    cloud.running()
    with cloud.database.writing() as db:
        stranger = add_user(db, "stan")
    with pytest.raises(NotFound, match="there is no project 'default'"):
        cloud.ask(verb, caller=stranger)
    with pytest.raises(NotFound, match="there is no VM 'other'"):
        cloud.ask(verb, "other")


@pytest.mark.parametrize("verb", CONSOLE_VERBS)
def test_a_vm_that_is_off_has_no_consoles(cloud, verb):
    cloud.running()
    stop(cloud)
    with pytest.raises(Refused, match="it is STOPPED and must be ACTIVE") as refusal:
        cloud.ask(verb)
    assert refusal.value.reason == "VM_NOT_ACTIVE"
    assert cloud.count(Ticket) == 0


def test_a_picture_is_png_and_another_one_for_each_run(cloud):
    cloud.running()
    first = cloud.ask(operations.get_vm_screenshot)
    assert first.startswith(b"\x89PNG\r\n")
    stop(cloud)
    cloud.ask(verbs.start_vm)
    cloud.settle()
    assert cloud.ask(operations.get_vm_screenshot) != first


def test_a_machine_that_has_just_gone_off_gives_no_picture(cloud):
    cloud.running()
    cloud.host.machines.force_off(cloud.row().id)
    with pytest.raises(Refused) as refusal:
        cloud.ask(operations.get_vm_screenshot)
    assert refusal.value.reason == "VM_NOT_ACTIVE"


def test_a_host_that_does_not_answer_gives_no_picture(cloud):
    cloud.running()
    cloud.host.unreachable = True
    with pytest.raises(Unavailable, match="does not answer"):
        cloud.ask(operations.get_vm_screenshot)


def test_a_host_that_refuses_tells_the_operator_why(cloud):
    cloud.running()
    cloud.host.crash_on_call(1, HypervisorError("its screen is too large for a screenshot"), after=False)
    with pytest.raises(Unavailable, match="no screenshot of VM 'hello' is available now") as refused:
        cloud.ask(operations.get_vm_screenshot)
    assert "too large for a screenshot" in refused.value.for_operator


def test_a_host_of_another_configuration_gives_no_picture(cloud):
    cloud.running()
    cloud.hosts = {}
    with pytest.raises(Unavailable, match="cannot be reached"):
        cloud.ask(operations.get_vm_screenshot)
