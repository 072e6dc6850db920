"""The published Python client, unchanged, with what concerns people and their projects; VMs are in tests/e2e."""

import cudo_compute
import pytest
from cudo_compute.rest import ApiException


def client_of(url: str, key: str) -> cudo_compute.ApiClient:
    configuration = cudo_compute.Configuration()
    configuration.host = url
    client = cudo_compute.ApiClient(configuration)
    client.default_headers["Authorization"] = f"Bearer {key}"
    return client


@pytest.fixture
def client(endpoint):
    return client_of(endpoint.url, endpoint.key)


def test_it_makes_changes_and_deletes_a_project(client):
    projects = cudo_compute.ProjectsApi(client)
    (account,) = cudo_compute.BillingApi(client).list_billing_accounts(page_size=10).billing_accounts
    made = projects.create_project(cudo_compute.Project(id="shop", billing_account_id=account.id))
    assert (made.id, made.billing_account_id) == ("shop", "default")
    change = cudo_compute.UpdateProjectBodyProject(billing_account_id="sales")
    body = cudo_compute.UpdateProjectBody(project=change, update_mask="billingAccountId")
    assert projects.update_project("shop", body).billing_account_id == "sales"
    assert projects.get_project("shop").billing_account_id == "sales"
    assert "shop" in [one.id for one in projects.list_projects(page_size=10).projects]
    assert projects.list_project_ssh_keys("shop").ssh_keys == []
    projects.delete_project("shop")
    assert "shop" not in [one.id for one in projects.list_projects().projects]


def test_it_makes_uses_and_revokes_an_api_key(client, endpoint):
    keys = cudo_compute.APIKeysApi(client)
    made = keys.generate_api_key(cudo_compute.GenerateApiKeyRequest(apikey_id="of-a-script"))
    listed = keys.list_api_keys(page_number=1, page_size=10)
    assert listed.total_count == len(listed.api_keys)
    assert "of-a-script" in [one.id for one in listed.api_keys]
    other = cudo_compute.UserApi(client_of(endpoint.url, made.key))
    assert other.get().email_address == "owner@localhost"
    keys.delete_api_key("of-a-script")
    with pytest.raises(ApiException) as refused:
        other.get()
    assert refused.value.status == 401


def test_it_reads_billing_accounts(client):
    billing = cudo_compute.BillingApi(client)
    account = billing.get_billing_account("default")
    assert (account.state, account.display_name) == ("STATE_ACTIVE", "default")
    assert float(account.credit_balance.value) == 0
    (project,) = cudo_compute.DefaultApi(client).list_billing_account_projects("default").projects
    assert project.id == "default"
    with pytest.raises(ApiException) as refused:
        billing.get_billing_account("nobodys")
    assert refused.value.status == 404


def test_it_puts_users_in_projects_and_takes_them_out(client):
    permissions = cudo_compute.PermissionsApi(client)
    mine = permissions.list_user_permissions(project_id="default")
    (owner,) = mine.project_permissions
    assert (owner.user_email, mine.billing_account_permissions) == ("owner@localhost", [])
    body = cudo_compute.RemoveProjectUserPermissionBody(user_id=owner.user_id, role=owner.permission_role)
    with pytest.raises(ApiException) as refused:
        permissions.remove_project_user_permission("default", body)
    assert refused.value.status == 400, "the last owner stays"
    friend = cudo_compute.AddProjectUserPermissionBody(user_email="friend@example.org", role="VIEWER")
    permissions.add_project_user_permission("default", friend)
    (added,) = members_named(permissions, "friend@example.org")
    assert added.permission_role == "VIEWER"
    body = cudo_compute.RemoveProjectUserPermissionBody(user_id=added.user_id, role="VIEWER")
    permissions.remove_project_user_permission("default", body)
    assert members_named(permissions, "friend@example.org") == []


def test_it_lets_users_look_after_a_data_center_and_no_more(client):
    permissions = cudo_compute.PermissionsApi(client)
    friend = cudo_compute.AddDataCenterUserPermissionBody(user_email="keeper@example.org", role="EDITOR")
    permissions.add_data_center_user_permission("local", friend)
    (added,) = permissions.list_user_permissions(data_center_id="local").data_center_permissions
    assert (added.user_email, added.permission_role) == ("keeper@example.org", "EDITOR")
    body = cudo_compute.RemoveDataCenterUserPermissionBody(user_id=added.user_id, role="EDITOR")
    permissions.remove_data_center_user_permission("local", body)
    assert permissions.list_user_permissions(data_center_id="local").data_center_permissions == []


def members_named(permissions, email):
    listed = permissions.list_user_permissions(project_id="default").project_permissions
    return [one for one in listed if one.user_email == email]


def test_it_reads_regions_and_searches(client):
    (region,) = cudo_compute.SearchApi(client).list_regions().regions
    assert [one.id for one in region.data_centers] == ["local"]
    (found,) = cudo_compute.DefaultApi(client).search_resources("defaul").results
    assert (found.resource_type, found.project.id) == ("project", "default")
    assert found.project.resource_count == 0


@pytest.mark.parametrize("query", ["", "x" * 101])
def test_a_search_for_nothing_or_too_much_is_refused(client, query):
    with pytest.raises(ApiException, match="query") as refused:
        cudo_compute.DefaultApi(client).search_resources(query)
    assert refused.value.status == 400
