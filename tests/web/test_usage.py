"""Usage as a page: the month, its days and things, the spend limit and the quotas."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from tests.projects.people import add_user

from cumulet.permission import CloudRole
from cumulet.projects import Role
from cumulet.quotas.operations import list_quotas
from cumulet.usage.operations import get_project_spend
from cumulet.usage.wire import UsageRow
from cumulet.web.scale import round_up
from cumulet.web.spend_chart import chart_of
from cumulet.wire import Amount

USAGE = "/p/default/usage"
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def row(day, item, amount):
    at = MARCH.replace(day=day)
    money = Amount(amount)
    return UsageRow(
        start_time=at, end_time=at, kind="", id="", label="", item=item, unit="",
        quantity=money, price=money, amount=money,
    )  # fmt: skip


def test_each_day_is_a_bar_of_what_it_cost_by_kind():
    chart = chart_of([row(2, "vcpu", "1"), row(2, "memory", "2"), row(2, "storage", "0.75")], MARCH, APRIL)
    assert (len(chart.days), chart.top) == (31, Decimal(4))
    assert chart.names == ((0, "Machines"), (2, "Storage"))
    assert chart.days[1].parts == ((0, 25.0, 75.0), (2, 6.25, 18.75))
    assert chart.days[1].total == Decimal("3.75")
    assert [day.mark for day in chart.days if day.mark] == ["1", "8", "15", "22", "31"]


@pytest.mark.parametrize(
    ("most", "top"), [("0", "1"), ("0.03", "0.04"), ("1", "1"), ("1.1", "2"), ("7", "8"), ("4100", "5000")]
)
def test_the_scale_ends_with_a_round_number(most, top):
    assert round_up(Decimal(most)) == Decimal(top)


def test_a_month_is_shown_by_day_and_by_thing(signed_in, cloud):
    assert cloud.owner
    cloud.running(vm_id="web")
    cloud.create_disk("data", size_gib=100)
    cloud.settle()
    cloud.clock.advance(5 * 24 * 3600)
    browser = signed_in(Role.VIEWER)
    text = browser.get(f"{USAGE}?month=2026-03").text
    total = cloud.call(get_project_spend, project_id="default").amount
    assert Decimal(total.value) > 1
    assert f"March 2026: {Decimal(total.value):,.2f} in all" in text
    assert len(re.findall(r'<rect class="series-1"', text)) == 6
    assert len(re.findall(r'<rect class="series-3"', text)) == 6
    assert 'href="/p/default/vms/web">web</a>' in text
    assert "month=2026-02" in text
    assert "Nothing was spent" in browser.get(f"{USAGE}?month=2026-02").text


@pytest.mark.parametrize("month", ["soon", "1999-01", "9999-12"])
def test_a_month_that_is_none_is_refused(signed_in, month):
    answer = signed_in().get(f"{USAGE}?month={month}")
    assert (answer.status_code, "a month such as" in answer.text) == (400, True)


def test_an_owner_sets_and_lifts_the_spend_limit(signed_in, cloud):
    browser = signed_in(Role.OWNER)
    limit = f"{USAGE}/limit"
    assert browser.send(limit, on=USAGE, limit="250", stopsVms="yes").headers["location"] == USAGE
    spend = cloud.call(get_project_spend, project_id="default")
    assert (spend.limit.value, spend.stops_vms) == ("250", True)
    wrong = browser.send(limit, on=USAGE, limit="much")
    assert wrong.status_code == 400
    assert re.search(r'value="much"[^>]* aria-invalid="true"', wrong.text)
    assert browser.send(limit, on=USAGE, limit="250", lift="yes").status_code == 303
    assert cloud.call(get_project_spend, project_id="default").limit is None


def quota(cloud, name):
    quotas = cloud.call(list_quotas, project_id="default").quotas
    return next((one.limit, one.own) for one in quotas if one.name == name)


def test_an_operator_sets_quotas_and_takes_them_back(signed_in, cloud):
    browser = operator(signed_in, cloud)
    url = f"{USAGE}/quotas/vcpus"
    assert browser.send(url, on=USAGE, limit="4").headers["location"] == USAGE
    assert quota(cloud, "vcpus") == (4, True)
    assert browser.send(url, on=USAGE, limit="").status_code == 303
    assert quota(cloud, "vcpus") == (None, True)
    wrong = browser.send(url, on=USAGE, limit="many")
    assert wrong.status_code == 400
    assert re.search(r'aria-label="Quota of vCPUs" value="many"[^>]*aria-invalid="true"', wrong.text)
    assert browser.send(f"{url}/unset", on=USAGE).status_code == 303
    assert quota(cloud, "vcpus") == (None, False)


def operator(signed_in, cloud):
    """Somebody who runs the cloud and belongs to no project."""
    assert cloud.owner
    browser = signed_in(Role.VIEWER)
    with cloud.database.writing() as db:
        add_user(db, "olga", CloudRole.OPERATOR)
    browser.sign_in("olga")
    return browser


@pytest.mark.parametrize(("role", "forms"), [(Role.VIEWER, set()), (Role.OWNER, {f"{USAGE}/limit"})])
def test_who_may_not_change_it_sees_no_form(signed_in, cloud, role, forms):
    assert cloud.owner
    browser = signed_in(role)
    assert set(re.findall(rf'action="({USAGE}[^"]*)"', browser.get(USAGE).text)) == forms
    assert browser.send(f"{USAGE}/quotas/vms", on=USAGE, limit="4").status_code == 403


def test_usage_of_another_project_is_not_there(signed_in):
    assert signed_in().get("/p/other/usage").status_code == 404
