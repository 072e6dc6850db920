"""Who may do what: every role against every demand."""

from uuid import UUID

import pytest

from cumulet.errors import Forbidden
from cumulet.permission import Access, Caller, CloudRole, Role, refuse

IN_PROJECT = [one for one in Access if one.role is not None]
OF_A_USER = [Access.USER, Access.AUDITOR, Access.OPERATOR]


def caller(**facts):
    return Caller(user_id=UUID(int=1), email="ann@example.org", **facts)


def may(one, access, *, changes=False):
    try:
        refuse(one, access, changes=changes)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize("access", IN_PROJECT)
@pytest.mark.parametrize("role", Role)
def test_a_role_in_a_project_includes_the_lower_ones(access, role):
    assert may(caller(project_id="p", role=role), access) is (role.value >= access.role.value)


@pytest.mark.parametrize("cloud_role", CloudRole)
def test_auditors_look_at_all_projects_and_operators_decide_who_belongs_to_them(cloud_role):
    stranger = caller(project_id="p", project_there=True, cloud_role=cloud_role)
    assert stranger.sees_project is (cloud_role is not CloudRole.NONE)
    assert [one for one in IN_PROJECT if may(stranger, one)] == {
        CloudRole.NONE: [],
        CloudRole.AUDITOR: [Access.VIEWER],
        CloudRole.OPERATOR: [Access.VIEWER, Access.OWNER_OR_OPERATOR],
    }[cloud_role]


@pytest.mark.parametrize("cloud_role", CloudRole)
def test_a_role_in_the_installation_includes_the_lower_ones(cloud_role):
    assert [one for one in OF_A_USER if may(caller(cloud_role=cloud_role), one)] == OF_A_USER[
        : cloud_role.value + 1
    ]


def test_no_project_is_there_that_nobody_made():
    assert not caller(project_id="p", cloud_role=CloudRole.OPERATOR).sees_project


@pytest.mark.parametrize("cloud_role", CloudRole)
def test_a_key_for_a_project_opens_that_one_and_nothing_of_its_user_s(cloud_role):
    facts = {"cloud_role": cloud_role, "role": Role.OWNER, "key_project": "p", "project_there": True}
    assert caller(project_id="p", **facts).sees_project
    assert not caller(project_id="q", **facts).sees_project
    assert may(caller(project_id="p", **facts), Access.OWNER, changes=True)
    assert [one for one in (Access.KEY, *OF_A_USER) if may(caller(**facts), one)] == [Access.KEY]


def test_a_key_for_a_project_does_not_carry_its_user_s_role_in_the_installation_there():
    one = caller(cloud_role=CloudRole.OPERATOR, key_project="p", project_id="p", project_there=True)
    assert not one.sees_project


@pytest.mark.parametrize("access", [one for one in Access if one is not Access.OPEN])
def test_a_key_that_only_reads_changes_nothing(access):
    one = caller(project_id="p", role=Role.OWNER, cloud_role=CloudRole.OPERATOR, key_reads_only=True)
    assert may(one, access)
    assert not may(one, access, changes=True)


def test_a_refusal_says_what_would_be_needed():
    with pytest.raises(Forbidden, match="you are VIEWER of project 'p'; this needs the role EDITOR"):
        refuse(caller(project_id="p", role=Role.VIEWER), Access.EDITOR, changes=True)
    with pytest.raises(Forbidden, match="you are not a member of project 'p'; this needs the role EDITOR"):
        refuse(caller(project_id="p", cloud_role=CloudRole.AUDITOR), Access.EDITOR, changes=True)
    with pytest.raises(Forbidden, match="only for those with the role OPERATOR in this cloud"):
        refuse(caller(), Access.OPERATOR, changes=False)
