"""Billing accounts: there before the first project that names one."""

import pytest
from tests.projects.people import add_user

from cumulet.billing.operations import (
    get_billing_account,
    list_billing_account_projects,
    list_billing_accounts,
)
from cumulet.errors import NotFound
from cumulet.permission import Role
from cumulet.projects import operations as projects
from cumulet.projects.wire import CreateProject


@pytest.fixture
def two(cloud):
    """A cloud with a second project, which names an account of its own."""
    cloud.call(projects.create_project, data=CreateProject(id="shop", billing_account_id="sales"))
    return cloud


def test_accounts_are_those_that_projects_name_and_the_installations_own(two):
    listed = two.call(list_billing_accounts)
    assert [one.id for one in listed.billing_accounts] == ["default", "sales"]
    assert (listed.page_token, listed.page_size) == ("", 2)
    account = two.call(get_billing_account, id="sales")
    assert (account.state.value, account.credit_balance.value, account.monthly_spend) == (
        "STATE_ACTIVE",
        "0",
        "0",
    )
    assert account.create_time == two.clock.now


def test_its_projects_are_shown_with_how_much_they_own(two):
    two.create(vm_id="web")
    own = two.call(list_billing_account_projects, id="default").projects
    assert [(one.id, one.resource_count) for one in own] == [("default", 3)], "VM, boot disk, network"
    assert [one.resource_count for one in two.call(list_billing_account_projects, id="sales").projects] == [0]


def test_who_has_no_project_yet_finds_the_account_to_make_one_with(two):
    with two.database.writing() as db:
        new = add_user(db, "new")
    assert [one.id for one in two.call(list_billing_accounts, new).billing_accounts] == ["default"]
    assert two.call(list_billing_account_projects, new, id="default").projects == []


def test_an_account_of_others_projects_is_not_there(two):
    with two.database.writing() as db:
        member = add_user(db, "member", default=Role.OWNER)
    for operation in (get_billing_account, list_billing_account_projects):
        with pytest.raises(NotFound, match="'sales'; there is only 'default'"):
            two.call(operation, member, id="sales")


def test_an_account_tells_what_its_projects_spend(two):
    two.create(vm_id="web")
    two.settle()
    two.clock.advance(3600)
    own, other = two.call(list_billing_accounts).billing_accounts
    hourly = float(own.hourly_spend_rate.value)
    assert hourly > 0
    assert float(own.monthly_spend) == pytest.approx(hourly, rel=0.01), "of one hour"
    assert two.call(get_billing_account, id="default") == own
    assert (other.hourly_spend_rate.value, other.monthly_spend) == ("0", "0")
