"""Members as pages: taking in, changing roles, taking out, leaving."""

import re

import pytest
from sqlalchemy import select
from tests.projects.people import add_user

from cumulet.projects import Role
from cumulet.projects.member_operations import list_project_permissions
from cumulet.projects.model import User

MEMBERS = "/p/default/members"


def roles(cloud):
    found = cloud.call(list_project_permissions, project_id="default").project_permissions
    return {one.user_email: one.role for one in found}


def id_of(cloud, email):
    with cloud.database.reading() as db:
        return str(db.scalar(select(User.id).where(User.email == email)))


@pytest.fixture
def bob(cloud):
    """A viewer."""
    assert cloud.owner  # found while they are the only one
    with cloud.database.writing() as db:
        add_user(db, "bob", default=Role.VIEWER)
    return f"{MEMBERS}/{id_of(cloud, 'bob@example.org')}"


def test_who_is_new_is_invited_with_a_code_that_is_shown_once(signed_in, cloud):
    browser = signed_in(Role.OWNER)
    fields = {"userEmail": "Cy@Example.org", "role": "VIEWER"}
    shown = browser.send(MEMBERS, on=MEMBERS, **fields)
    assert (shown.status_code, roles(cloud)["cy@example.org"]) == (200, "VIEWER")
    code = re.search(r"cumulet user accept ([0-9a-f]{64})", shown.text)[1]
    assert f"{browser.origin}/join#{code}" in shown.text
    assert browser.get("/join").status_code == 200
    listed = browser.get(MEMBERS).text
    assert (code in listed, "has not accepted yet" in listed) == (False, True)


def test_who_has_not_accepted_yet_gets_another_role_with_the_code_that_counts_then(signed_in, cloud):
    browser = signed_in(Role.OWNER)
    browser.send(MEMBERS, on=MEMBERS, userEmail="cy@example.org", role="VIEWER")
    cy = f"{MEMBERS}/{id_of(cloud, 'cy@example.org')}"
    shown = browser.send(f"{cy}/role", on=MEMBERS, role="EDITOR")
    assert (shown.status_code, roles(cloud)["cy@example.org"]) == (200, "EDITOR")
    assert re.search(r"cumulet user accept [0-9a-f]{64}", shown.text)


def test_an_owner_changes_roles_and_takes_members_out(signed_in, cloud, bob):
    browser = signed_in(Role.OWNER)
    assert browser.send(f"{bob}/role", on=MEMBERS, role="EDITOR").headers["location"] == MEMBERS
    assert roles(cloud)["bob@example.org"] == "EDITOR"
    text = browser.get(f"{bob}/remove").text
    assert "Their access to this project" in text
    assert "SSH keys in VMs" in text
    assert browser.send(f"{bob}/remove", on=f"{bob}/remove").status_code == 303
    assert "bob@example.org" not in roles(cloud)
    assert browser.get(f"{bob}/remove").status_code == 404


def test_what_is_wrong_stands_beside_the_address_with_the_input_kept(signed_in):
    browser = signed_in(Role.OWNER)
    answer = browser.send(MEMBERS, on=MEMBERS, userEmail="cy", role="OWNER")
    assert answer.status_code == 400
    assert re.search(r'value="cy"[^>]* aria-invalid="true"', answer.text)
    assert re.search(r'value="OWNER" checked', answer.text)
    assert "such as ann@example.org" in answer.text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.EDITOR])
def test_who_is_no_owner_sees_no_button_that_changes_anybody(signed_in, cloud, bob, role):
    browser = signed_in(role)
    text = browser.get(MEMBERS).text
    assert "owner@localhost" in text
    assert f'action="{MEMBERS}' not in text
    assert "Remove…" not in text
    assert browser.send(f"{bob}/role", on="/p/default/leave", role="OWNER").status_code == 403
    assert roles(cloud)["bob@example.org"] == "VIEWER"


def test_a_member_leaves_and_sees_the_project_no_more(signed_in, cloud):
    browser = signed_in(Role.VIEWER)
    leave = "/p/default/leave"
    assert browser.send(leave, on=leave).headers["location"] == "/"
    assert "ann@example.org" not in roles(cloud)
    assert browser.get(MEMBERS).status_code == 404


def test_of_the_only_owner_nothing_can_be_taken(signed_in, cloud):
    assert cloud.owner
    browser = signed_in(Role.OWNER)
    owner = id_of(cloud, "owner@localhost")
    assert browser.send(f"{MEMBERS}/{owner}/role", on=MEMBERS, role="VIEWER").status_code == 303
    assert "the only owner: make somebody else one first" in browser.get(MEMBERS).text
    assert "You cannot" in browser.get("/p/default/leave").text
    refused = browser.send("/p/default/leave", on="/p/default/leave")
    assert (refused.status_code, "only owner" in refused.text) == (400, True)


@pytest.mark.parametrize("path", ["members", "leave"])
def test_those_of_another_project_are_not_there(signed_in, path):
    assert signed_in(Role.OWNER).get(f"/p/other/{path}").status_code == 404
