"""Who belongs to a project: by all paths, with one owner at least; on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import select
from tests.made_up import NOON, make_cloud, with_limits
from tests.people.test_users import accept, caller_of, invite
from tests.projects.people import add_user, ed25519_line
from tests.rest.conftest import serving

from cumulet.errors import Exhausted, Forbidden, Invalid, NotFound, Refused
from cumulet.journal import Event
from cumulet.operation import OPERATIONS
from cumulet.permission import CloudRole, Role
from cumulet.projects import admit, keys_of_project
from cumulet.projects import member_operations as verbs
from cumulet.projects import operations as project_verbs
from cumulet.projects.key_operations import create_ssh_key, generate_api_key
from cumulet.projects.model import User, UserState
from cumulet.projects.people_wire import AddPermission, PermissionRole, RemovePermission, UserRole
from cumulet.projects.wire import CreateProject, CreateSshKey, GenerateApiKey
from cumulet.rest import create_app
from cumulet.vms import operations as vm_verbs

MEMBERS = ("user_email", "role", "permission_role", "project_id", "state")


@pytest.fixture
def ann(cloud):
    """A user who belongs to nothing."""
    with cloud.database.writing() as db:
        return add_user(db, "ann")


def add(cloud, role=PermissionRole.EDITOR, address="ann@example.org", caller=None):
    data = AddPermission(address, role)
    return cloud.call(verbs.add_project_user_permission, caller, project_id="default", data=data)


def remove(cloud, caller=None, **whom):
    data = RemovePermission(**whom)
    return cloud.call(verbs.remove_project_user_permission, caller, project_id="default", data=data)


def members(cloud, caller=None):
    shown = cloud.call(verbs.list_user_permissions, caller, project_id="default")
    return {one.user_email: one.role for one in shown.project_permissions}


def addresses(cloud):
    """The names of all whom the cloud knows, before the @ of their addresses."""
    with cloud.database.reading() as db:
        return {address.partition("@")[0] for address in db.scalars(select(User.email))}


def test_a_member_is_added_changed_and_removed(cloud, ann):
    assert add(cloud).invitation is None
    assert members(cloud, ann) == {"ann@example.org": "EDITOR", "owner@localhost": "OWNER"}
    cloud.create(ann, vm_id="of-ann")
    add(cloud, PermissionRole.VIEWER)
    with pytest.raises(Forbidden):
        cloud.create(ann)
    remove(cloud, user_id=str(ann.user_id), role=PermissionRole.VIEWER)
    with pytest.raises(NotFound, match="there is no project 'default'"):
        members(cloud, ann)
    assert cloud.vm("of-ann").id == "of-ann"
    with cloud.database.reading() as db:
        told = db.scalars(select(Event).where(Event.subject == "member").order_by(Event.id)).all()
    assert [(one.event, one.project_id, one.data["role"]) for one in told] == [
        ("member.added", "default", "EDITOR"),
        ("member.changed", "default", "VIEWER"),
        ("member.removed", "default", "VIEWER"),
    ]


def test_permissions_are_listed_with_the_contract_s_members(cloud, ann):
    add(cloud)
    listed = cloud.call(verbs.list_user_permissions, project_id="default")
    first, _ = listed.project_permissions
    assert [getattr(first, name) for name in MEMBERS] == [
        "ann@example.org", "EDITOR", PermissionRole.EDITOR, "default", "ACTIVE",
    ]  # fmt: skip
    assert (first.user_id, first.user_picture) == (str(ann.user_id), "")
    assert (listed.data_center_permissions, listed.billing_account_permissions) == ([], [])
    assert cloud.call(verbs.list_project_permissions, project_id="default") == listed
    mine = cloud.call(verbs.list_user_permissions, ann).project_permissions
    assert mine == [first]
    elsewhere = cloud.call(verbs.list_user_permissions, ann, data_center_id="local")
    assert elsewhere.project_permissions == []


@pytest.mark.parametrize("project_id", ["default", "nowhere"])
def test_who_belongs_to_a_project_of_others_is_not_told(cloud, ann, project_id):
    with pytest.raises(NotFound, match=f"there is no project '{project_id}'; there are none yet"):
        cloud.call(verbs.list_user_permissions, ann, project_id=project_id)


def test_somebody_unknown_is_invited_and_has_the_role_once_they_accept(cloud):
    invitation = add(cloud, address="New@example.org").invitation
    assert members(cloud)["new@example.org"] == "EDITOR"
    again = add(cloud, address="new@example.org").invitation
    with pytest.raises(Invalid):
        accept(cloud, invitation.code)
    new = caller_of(cloud, accept(cloud, again.code).api_key.key)
    assert cloud.create(new, vm_id="of-new").id == "of-new"


def code(cloud, caller, project_id, address):
    """The code of who is invited into a project."""
    data = AddPermission(f"{address}@example.org", PermissionRole.VIEWER)
    answer = cloud.call(verbs.add_project_user_permission, caller, project_id=project_id, data=data)
    return answer.invitation.code


def test_a_code_is_told_to_nobody_who_could_not_give_all_that_it_opens(cloud, ann):
    with cloud.database.writing() as db:
        bob = add_user(db, "bob")
    for owner, id in ((ann, "anns"), (ann, "more"), (bob, "bobs")):
        cloud.call(project_verbs.create_project, owner, data=CreateProject(id=id))
    invite(cloud, "boss@example.org", role=UserRole.OPERATOR)
    invite(cloud, "new@example.org")
    for address in ("boss", "new"):
        with pytest.raises(
            Refused, match=f"{address}@example.org was invited by somebody else .* ask an operator"
        ):
            code(cloud, ann, "anns", address)
    code(cloud, ann, "anns", "her")
    with pytest.raises(Refused):
        code(cloud, bob, "bobs", "her")
    assert "her@example.org" not in {
        one.user_email
        for one in cloud.call(verbs.list_project_permissions, bob, project_id="bobs").project_permissions
    }
    hers = caller_of(cloud, accept(cloud, code(cloud, ann, "more", "her")).api_key.key)
    listed = cloud.call(project_verbs.list_projects, hers).projects
    assert [one.id for one in listed] == ["anns", "more"]


def test_a_code_is_told_to_no_key_that_is_for_less_than_it_opens(cloud, ann):
    for id in ("anns", "more"):
        cloud.call(project_verbs.create_project, ann, data=CreateProject(id=id))
    asked = GenerateApiKey(apikey_id="for-more", project_id="more")
    scoped = caller_of(cloud, cloud.call(generate_api_key, ann, data=asked).key)
    code(cloud, ann, "anns", "her")
    with pytest.raises(Refused):
        code(cloud, scoped, "more", "her")
    code(cloud, ann, "more", "his")
    assert code(cloud, scoped, "more", "his")


def test_who_never_came_and_belongs_to_nothing_any_more_is_forgotten_with_their_code(cloud, ann):
    add(cloud, PermissionRole.OWNER)
    cloud.call(project_verbs.create_project, ann, data=CreateProject("of-ann"))

    def invite_two(project_id):
        for address in ("ben@example.org", "cid@example.org"):
            data = AddPermission(address, PermissionRole.EDITOR)
            made = cloud.call(verbs.add_project_user_permission, ann, project_id=project_id, data=data)
        return made.invitation.code

    invite_two("default")
    code = invite_two("of-ann")
    assert addresses(cloud) == {"ann", "ben", "cid", "owner"}
    remove(cloud, ann, user_email="ben@example.org")
    remove(cloud, ann, user_email="cid@example.org")
    assert addresses(cloud) == {"ann", "ben", "cid", "owner"}
    cloud.call(project_verbs.delete_project, ann, id="of-ann")
    assert addresses(cloud) == {"ann", "owner"}
    with pytest.raises(Invalid, match="code: '\\(not shown\\)' is not accepted"):
        accept(cloud, code)
    add(cloud, address="ben@example.org", caller=ann)
    remove(cloud, ann, user_email="ben@example.org")
    assert addresses(cloud) == {"ann", "owner"}


def test_who_an_operator_invited_or_who_came_stays_though_they_belong_to_nothing(cloud, ann):
    add(cloud, PermissionRole.OWNER)
    add(cloud, address="ben@example.org")
    accept(cloud, add(cloud, address="cid@example.org", caller=ann).invitation.code)
    for address in ("ben@example.org", "cid@example.org"):
        remove(cloud, ann, user_email=address)
    assert addresses(cloud) == {"ann", "ben", "cid", "owner"}


def test_the_last_owner_who_can_call_stays_owner(cloud, ann):
    add(cloud, PermissionRole.OWNER)
    add(cloud, PermissionRole.OWNER, "invited@example.org")
    with cloud.database.writing() as db:
        db.get_one(User, ann.user_id).state = UserState.SUSPENDED
    words = "owner@localhost is the only owner of 'default': make somebody else an owner first"
    for lose in (
        lambda: cloud.call(verbs.leave_project, project_id="default"),
        lambda: remove(cloud, user_email="owner@localhost"),
        lambda: add(cloud, PermissionRole.VIEWER, "owner@localhost"),
    ):
        with pytest.raises(Refused, match=words):
            lose()
    with cloud.database.writing() as db:
        db.get_one(User, ann.user_id).state = UserState.ACTIVE
    cloud.call(verbs.leave_project, project_id="default")
    assert members(cloud, ann) == {"ann@example.org": "OWNER", "invited@example.org": "OWNER"}


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_of_two_owners_who_leave_at_once_one_stays(cloud, ann):
    add(cloud, PermissionRole.OWNER)

    def leave(caller):
        try:
            cloud.call(verbs.leave_project, caller, project_id="default")
        except Refused:
            return False
        return True

    for _ in range(10):
        with ThreadPoolExecutor(2) as threads:
            left = list(threads.map(leave, (cloud.owner, ann)))
        assert sorted(left) == [False, True]
        stays = ann if left[0] else cloud.owner
        leaver = cloud.owner if left[0] else ann
        add(cloud, PermissionRole.OWNER, leaver.email, caller=stays)


def test_who_leaves_takes_their_access_and_keys_along_and_leaves_their_vms(cloud, ann):
    add(cloud)
    line = ed25519_line(1)
    cloud.call(create_ssh_key, ann, data=CreateSshKey(line))
    cloud.create(ann, vm_id="of-ann")
    cloud.call(verbs.leave_project, ann, project_id="default")
    assert cloud.vm("of-ann").id == "of-ann"
    assert cloud.call(project_verbs.list_projects, ann).projects == []
    with cloud.database.reading() as db:
        assert line not in keys_of_project(db, "default")


def test_only_an_owner_or_an_operator_decides_who_belongs(cloud, ann):
    add(cloud)
    with cloud.database.writing() as db:
        operator = add_user(db, "root", CloudRole.OPERATOR)
        auditor = add_user(db, "audit", CloudRole.AUDITOR)
    for caller in (ann, auditor):
        with pytest.raises(Forbidden):
            add(cloud, PermissionRole.OWNER, caller=caller)
        with pytest.raises(Forbidden):
            remove(cloud, caller, user_email="owner@localhost")
    add(cloud, PermissionRole.OWNER, caller=operator)
    assert members(cloud, auditor)["ann@example.org"] == "OWNER"
    with pytest.raises(Forbidden):
        cloud.call(vm_verbs.create_vm, operator, project_id="default", data=None)
    with pytest.raises(NotFound, match="no member of project 'default'"):
        cloud.call(verbs.leave_project, operator, project_id="default")


@pytest.mark.parametrize(
    ("whom", "words"),
    [
        ({"user_email": "ann@example.org"}, "userEmail: there is no member .* 'ann@example.org'"),
        ({"user_id": "6f2d6c1e-8f3a-4f0e-9f55-0c7b3a1d9e42"}, "userId: there is no member"),
        ({}, "userEmail: there is no member .* ''; there is only 'owner@localhost'"),
        (
            {"user_email": "owner@localhost", "role": PermissionRole.EDITOR},
            "role: 'EDITOR' .* expected OWNER",
        ),
    ],
)
def test_who_is_no_member_or_not_as_that_is_not_removed(cloud, ann, whom, words):
    with pytest.raises(Invalid, match=words):
        remove(cloud, **whom)


def test_what_is_no_role_or_no_address_is_refused(cloud):
    with pytest.raises(Invalid, match="role: 'UNKNOWN' is not accepted; expected OWNER, EDITOR or VIEWER"):
        add(cloud, PermissionRole.UNKNOWN)
    with pytest.raises(Invalid, match="userEmail: 'ann' is not accepted"):
        add(cloud, address="ann")


def test_members_of_a_project_are_bounded(database, tmp_path):
    cloud = make_cloud(database, tmp_path, catalogue=with_limits(members_per_project=2))
    add(cloud, address="one@example.org")
    with pytest.raises(Exhausted, match="project 'default' has 2 members, and one may have at most 2"):
        add(cloud, address="two@example.org")
    add(cloud, PermissionRole.VIEWER, "one@example.org")


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_both_generations_of_clients_find_their_paths(cloud):
    with cloud.database.writing() as db:
        add_user(db, "root", CloudRole.OPERATOR, default=Role.OWNER)
        add_user(db, "ann")
    provided = {"limits": cloud.catalogue.limits}
    app = create_app(
        cloud.database,
        admit=admit,
        provided=provided,
        operations=[one for one in OPERATIONS.values() if one.function.__module__ == verbs.__name__],
        clock=lambda: NOON,
    )
    with serving(app) as url, httpx.Client(base_url=url, headers={"authorization": "Bearer root"}) as root:
        body = {"userEmail": "ann@example.org", "role": "EDITOR"}
        for add_path, remove_path in (
            ("/v1/projects/default/add-user-permission", "/v1/projects/default/remove-user-permission"),
            ("/v1/projects/default:add-permission", "/v1/projects/default:remove-permission"),
        ):
            added = root.post(add_path, json=body)
            assert (added.status_code, added.text) == (200, "{}")
            listed = root.get("/v1/projects/default:list-permissions").json()["projectPermissions"]
            (ann,) = (one for one in listed if one["userEmail"] == "ann@example.org")
            removed = root.post(remove_path, json={"userId": ann["userId"], "role": "EDITOR"})
            assert (removed.status_code, removed.text) == (200, "{}")
        assert root.post("/v1/projects/none:add-permission", json=body).json()["code"] == 5
        assert root.post("/v1/projects/default:frobnicate", json=body).status_code == 404
