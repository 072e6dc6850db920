"""Tickets against the database, on both kinds of it; what comes of them on the wire is tested with the websockets."""

from datetime import timedelta
from unittest.mock import Mock

import pytest
from sqlalchemy import delete
from tests.made_up import PROJECT
from tests.projects.people import add_user

from cumulet.console import CloseReason, ConsoleRequest, Consoles, Ended, Kind, tickets
from cumulet.errors import Exhausted
from cumulet.hypervisor import HypervisorError, Power
from cumulet.limits import Limits
from cumulet.projects import Role, key_operations, user_operations
from cumulet.projects.model import ApiKey, Membership
from cumulet.vms import operations as verbs


@pytest.fixture
def consoles(cloud):
    cloud.running()
    return Consoles(cloud.database, cloud.hosts, cloud.catalogue.limits, cloud.clock)


def asked(ticket: str) -> ConsoleRequest:
    return ConsoleRequest(Kind.SCREEN, PROJECT, "hello", ticket)


def test_a_ticket_opens_until_its_time_is_over_and_renewed_again_as_long(cloud, consoles, ticket):
    one = asked(ticket())
    cloud.clock.advance(299)
    consoles.open(one).line.close()
    consoles.renew(one)
    cloud.clock.advance(299)
    consoles.open(one).line.close()
    cloud.clock.advance(2)
    for verb in (consoles.open, consoles.renew):
        with pytest.raises(Ended) as ended:
            verb(one)
        assert ended.value.end is CloseReason.BAD_TICKET


def test_who_loses_his_role_neither_opens_nor_renews(cloud, consoles, ticket):
    with cloud.database.writing() as db:
        editor = add_user(db, "eddy", **{PROJECT: Role.EDITOR})
    one = asked(ticket(caller=editor))
    consoles.open(one).line.close()
    with cloud.database.writing() as db:
        db.execute(delete(Membership).where(Membership.user_id == editor.user_id))
    for verb in (consoles.open, consoles.renew):
        with pytest.raises(Ended) as ended:
            verb(one)
        assert ended.value.end is CloseReason.NOT_YOURS


def test_a_restart_that_is_done_while_one_looks_is_told_as_one(cloud, consoles, ticket, monkeypatch):
    console = consoles.open(asked(ticket()))
    look = cloud.host.machines.get
    cloud.ask(verbs.reboot_vm)
    cloud.run()

    def look_and_go_on(vm_id):
        seen = look(vm_id)
        monkeypatch.setattr(cloud.host.machines, "get", look)
        cloud.settle()
        return seen

    monkeypatch.setattr(cloud.host.machines, "get", look_and_go_on)
    assert look(console.vm_id).power is Power.OFF
    assert consoles.why_ended(console) is CloseReason.STARTS
    console.line.close()


@pytest.mark.parametrize(
    "end",
    [
        lambda cloud: cloud.call(key_operations.delete_api_key, cloud.eddy, name="key-of-eddy"),
        lambda cloud: cloud.call(user_operations.suspend_user, id="eddy@example.org"),
        lambda cloud: cloud.call(user_operations.remove_user, id="eddy@example.org"),
        lambda cloud: cloud.clock.advance(60),
    ],
    ids=["revoked", "suspended", "removed", "expired"],
)
def test_a_ticket_ends_with_the_key_that_it_was_asked_for_with(cloud, consoles, ticket, end):
    with cloud.database.writing() as db:
        editor = add_user(db, "eddy", **{PROJECT: Role.EDITOR})
        key = db.get_one(ApiKey, (editor.user_id, "key-of-eddy"))
        key.expires_at = cloud.clock.now + timedelta(seconds=60)
    one = asked(ticket(caller=editor))
    consoles.open(one).line.close()
    cloud.eddy = editor
    end(cloud)
    for verb in (consoles.open, consoles.renew):
        with pytest.raises(Ended) as ended:
            verb(one)
        assert ended.value.end is CloseReason.KEY_REVOKED


@pytest.mark.parametrize("bound", [{"consoles_per_vm": 2}, {"consoles_per_user": 2}])
def test_one_console_too_many_of_a_vm_or_a_user_is_refused_and_another_opens_when_one_closes(
    cloud, consoles, ticket, bound
):
    few = Consoles(cloud.database, cloud.hosts, Limits(**bound), cloud.clock)
    first, second = few.open(asked(ticket())), few.open(asked(ticket()))
    with pytest.raises(Ended) as ended:
        few.open(asked(ticket()))
    assert ended.value.end is CloseReason.TOO_MANY
    few.close(first)
    third = few.open(asked(ticket()))
    few.close(second)
    few.close(third)


def test_a_console_that_does_not_open_takes_no_place(cloud, ticket, monkeypatch):
    cloud.running()
    few = Consoles(cloud.database, cloud.hosts, Limits(consoles_per_vm=1), cloud.clock)
    with monkeypatch.context() as away:
        away.setattr(cloud.host.consoles, "open_screen", Mock(side_effect=HypervisorError("no")))
        for _ in range(2):
            with pytest.raises(Ended) as ended:
                few.open(asked(ticket()))
            assert ended.value.end is CloseReason.NO_CONSOLE
    few.close(few.open(asked(ticket())))


def test_tickets_that_are_good_at_once_are_bounded_and_those_that_are_not_are_forgotten(
    cloud, consoles, ticket, monkeypatch
):
    monkeypatch.setattr(tickets, "MOST_OF_ONE", 3)
    for _ in range(3):
        ticket()
    with pytest.raises(Exhausted, match="you have 3 valid console links"):
        ticket()
    cloud.clock.advance(301)
    ticket()
    assert cloud.count(tickets.Ticket) == 1
