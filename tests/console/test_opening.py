"""Tickets against the database, on both kinds of it; what comes of them on the wire is tested with the websockets."""

import pytest
from sqlalchemy import delete
from tests.made_up import PROJECT
from tests.projects.people import add_user

from cumulet.console import Asked, Consoles, End, Ended, Kind
from cumulet.hypervisor import Power
from cumulet.projects import Role
from cumulet.projects.model import Membership
from cumulet.vms import operations as verbs


@pytest.fixture
def consoles(cloud):
    cloud.running()
    return Consoles(cloud.database, cloud.hosts, cloud.clock)


def asked(ticket: str) -> Asked:
    return Asked(Kind.SCREEN, PROJECT, "hello", ticket)


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
        assert ended.value.end is End.BAD_TICKET


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
        assert ended.value.end is End.NOT_YOURS


def test_a_restart_that_is_done_while_one_looks_is_told_as_one(cloud, consoles, ticket, monkeypatch):
    console = consoles.open(asked(ticket()))
    look = cloud.host.domain
    cloud.ask(verbs.reboot_vm)
    cloud.run()

    def look_and_go_on(vm_id):
        seen = look(vm_id)
        monkeypatch.setattr(cloud.host, "domain", look)
        cloud.settle()
        return seen

    monkeypatch.setattr(cloud.host, "domain", look_and_go_on)
    assert look(console.vm_id).power is Power.OFF
    assert consoles.why_ended(console) is End.STARTS
    console.line.close()
