"""Users from their invitation to their end, as callers see it; on both databases."""

from __future__ import annotations

import re
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from tests.made_up import NOON, Asked
from tests.projects.people import add_user

from cumulet import journal
from cumulet.call import Call, Calls
from cumulet.errors import AlreadyExists, Invalid, NotFound, Refused, Unauthenticated
from cumulet.journal import Event
from cumulet.operation import OPERATIONS
from cumulet.permission import CloudRole, Role
from cumulet.projects import authenticate, keys_of_user
from cumulet.projects import operations as project_verbs
from cumulet.projects import user_operations as verbs
from cumulet.projects.model import Membership, SshKey, User
from cumulet.projects.people_wire import AcceptInvitation, ChangeUser, InviteUser, UserRole

DAY = 86_400


def invite(cloud, address="ann@example.org", **how):
    return cloud.call(verbs.invite_user, data=InviteUser(address, **how))


def accept(cloud, code):
    data = AcceptInvitation(code, first_name="Ann", last_name="Lee")
    return cloud.call(verbs.accept_invitation, data=data)


def join(cloud, address="ann@example.org", **how):
    """A new user; gives their key as a caller."""
    return caller_of(cloud, accept(cloud, invite(cloud, address, **how).invitation.code).api_key.key)


def caller_of(cloud, key):
    with cloud.database.reading() as db:
        return authenticate(db, key, now=cloud.clock())


def test_who_is_invited_gets_in_once_under_their_name_and_with_a_key(cloud):
    invited = invite(cloud, "Ann@Example.org", role=UserRole.AUDITOR)
    assert (invited.user.email_address, invited.user.state) == ("ann@example.org", "INVITED")
    assert invited.invitation.email_address == "ann@example.org"
    joined = accept(cloud, invited.invitation.code)
    caller = caller_of(cloud, joined.api_key.key)
    assert (caller.email, caller.cloud_role) == ("ann@example.org", CloudRole.AUDITOR)
    shown = cloud.call(verbs.get_user, caller, id="ANN@example.org")
    assert shown == joined.user == cloud.call(verbs.get_user, id=joined.user.id)
    assert (shown.first_name, shown.last_name, shown.state) == ("Ann", "Lee", "ACTIVE")
    with pytest.raises(Invalid, match="code: "):
        accept(cloud, invited.invitation.code)


def test_a_code_that_is_wrong_late_or_renewed_lets_nobody_in_and_is_not_repeated(cloud):
    first = invite(cloud).invitation
    second = invite(cloud).invitation
    for code in ("", "wrong", first.code):
        with pytest.raises(Invalid, match=r"code: '\(not shown\)' is not accepted") as refused:
            accept(cloud, code)
        assert not code or code not in str(refused.value.details) + refused.value.message
    cloud.clock.advance(7 * DAY)
    with pytest.raises(Invalid):
        accept(cloud, second.code)
    assert accept(cloud, invite(cloud).invitation.code).user.state == "ACTIVE"


def test_the_code_is_a_word_that_a_command_takes_as_it_is(cloud):
    """With a dash in front one in 64 would be taken for an option."""
    assert re.fullmatch("[0-9a-f]{64}", invite(cloud).invitation.code)


def test_who_has_not_accepted_yet_gets_another_role_with_another_code(cloud):
    first = invite(cloud)
    with pytest.raises(
        Refused, match="has not accepted their invitation yet: invite them anew with that role"
    ):
        cloud.call(verbs.change_user, id="ann@example.org", data=ChangeUser(UserRole.OPERATOR))
    second = invite(cloud, role=UserRole.OPERATOR)
    with pytest.raises(Invalid):
        accept(cloud, first.invitation.code)
    assert accept(cloud, second.invitation.code).user.role is UserRole.OPERATOR


def test_a_user_is_not_invited_again(cloud):
    join(cloud)
    with pytest.raises(
        AlreadyExists, match=r"emailAddress: 'ann@example\.org' is a user of this cloud already"
    ):
        invite(cloud, "ANN@example.org")


@pytest.mark.parametrize(
    "address", ["", "ann", "@example.org", "ann@", "a@b@c", "a b@c", "a\n@c", "a\x1b@c", "a" * 250 + "@b.cd"]
)
def test_what_is_no_address_is_not_invited(cloud, address):
    with pytest.raises(Invalid, match=r"emailAddress: .* expected an e-mail address"):
        invite(cloud, address)


def test_a_suspended_user_has_no_key_until_they_are_resumed(cloud):
    ann = join(cloud)
    cloud.call(project_verbs.get_profile, ann)
    for _ in range(2):
        cloud.call(verbs.suspend_user, id="ann@example.org")
    assert cloud.call(verbs.get_user, id=str(ann.user_id)).state == "SUSPENDED"
    for verb in (project_verbs.get_profile, verbs.delete_user):
        with pytest.raises(Unauthenticated, match="suspended"):
            cloud.call(verb, ann)
    for _ in range(2):
        cloud.call(verbs.resume_user, id="ann@example.org")
    assert cloud.call(project_verbs.get_profile, ann).email_address == "ann@example.org"


def test_who_has_not_accepted_yet_is_removed_and_not_suspended(cloud):
    code = invite(cloud).invitation.code
    with pytest.raises(Refused, match="has not accepted their invitation yet"):
        cloud.call(verbs.suspend_user, id="ann@example.org")
    cloud.call(verbs.remove_user, id="ann@example.org")
    with pytest.raises(Invalid):
        accept(cloud, code)


@pytest.mark.parametrize("by_themselves", [True, False])
def test_a_removed_user_leaves_what_they_made_and_can_come_back_as_a_stranger(cloud, by_themselves):
    ann = join(cloud, role=UserRole.OPERATOR)
    with cloud.database.writing() as db:
        user = db.get_one(User, ann.user_id)
        add_user(db, "bob", default=Role.OWNER)
        db.add_all(membership_and_ssh_key(user.id))
    cloud.create(ann, vm_id="of-ann")
    if by_themselves:
        cloud.call(verbs.delete_user, ann)
    else:
        cloud.call(verbs.remove_user, id="ann@example.org")
    assert cloud.vm("of-ann").id == "of-ann"
    with pytest.raises(Unauthenticated):
        cloud.call(project_verbs.get_profile, ann)
    with pytest.raises(NotFound, match=r"there is no user 'ann@example\.org'"):
        cloud.call(verbs.get_user, id="ann@example.org")
    assert "ann@example.org" not in [one.email_address for one in cloud.call(verbs.list_users).users]
    with cloud.database.reading() as db:
        assert keys_of_user(db, ann.user_id) == ()
    again = join(cloud)
    assert (again.user_id, again.cloud_role) == (ann.user_id, CloudRole.NONE)
    assert cloud.call(project_verbs.list_projects, again).projects == []


def membership_and_ssh_key(user_id):
    facts = {"public_key": "ssh-ed25519 A", "type": "ssh-ed25519", "fingerprint": "SHA256:A", "comment": ""}
    return (
        Membership(user_id=user_id, project_id="default", role=Role.EDITOR),
        SshKey(id=uuid4(), user_id=user_id, created_at=NOON, **facts),
    )


def test_the_last_operator_stays_one(cloud):
    me = str(cloud.owner.user_id)
    with cloud.database.writing() as db:
        add_user(db, "bob", default=Role.OWNER)
    operator = join(cloud, role=UserRole.OPERATOR)
    cloud.call(verbs.suspend_user, id=str(operator.user_id))
    for verb, how in (
        (verbs.suspend_user, {}),
        (verbs.remove_user, {}),
        (verbs.change_user, {"data": ChangeUser(UserRole.AUDITOR)}),
    ):
        with pytest.raises(Refused, match="owner@localhost is the only operator of this cloud"):
            cloud.call(verb, id=me, **how)
    cloud.call(verbs.resume_user, id=str(operator.user_id))
    assert cloud.call(verbs.change_user, id=me, data=ChangeUser(UserRole.NONE)).role is UserRole.NONE
    cloud.call(verbs.remove_user, operator, id=me)


def test_the_last_owner_of_a_project_is_not_removed(cloud):
    join(cloud, role=UserRole.OPERATOR)
    with pytest.raises(Refused, match="owner@localhost is the only owner of 'default'"):
        cloud.call(verbs.remove_user, id="owner@localhost")


def test_users_come_in_pages(cloud):
    for name in ("c", "a", "b"):
        invite(cloud, f"{name}@example.org")
    first = cloud.call(verbs.list_users, page_size=3)
    second = cloud.call(verbs.list_users, page_size=3, page_token=first.page_token)
    listed = [one.email_address.partition("@")[0] for one in (*first.users, *second.users)]
    assert (listed, second.page_token) == (["a", "b", "c", "owner"], "")


def test_the_journal_tells_of_each_step_and_of_no_secret(cloud):
    answer = invite(cloud)
    joined = accept(cloud, answer.invitation.code)
    for verb in (verbs.suspend_user, verbs.resume_user, verbs.remove_user):
        cloud.call(verb, id="ann@example.org")
    with cloud.database.reading() as db:
        events = journal.events_about(db, UUID(joined.user.id))
        told = str([vars(one) for one in db.scalars(select(Event))])
    assert [one.event for one in events] == [
        "user.invited",
        "user.joined",
        "user.suspended",
        "user.resumed",
        "user.removed",
    ]
    assert answer.invitation.code not in told
    assert joined.api_key.key not in told


def test_an_invitation_is_accepted_without_a_key(cloud):
    provided = {"limits": cloud.catalogue.limits}
    calls = Calls(cloud.database, None, provided, cloud.clock)
    code = invite(cloud).invitation.code
    asked = Asked({"data": AcceptInvitation(code)})
    assert Call(OPERATIONS["accept_invitation"], calls).answer(asked).user.state == "ACTIVE"
