"""`cumulet usage`, against a server."""

import csv
import io

import pytest

from cumulet.cli import usage


@pytest.fixture
def vm(cumulet):
    assert cumulet("vm", "create", "dear", "--metadata", "team=red", "--wait").code == 0
    yield "dear"
    cumulet("vm", "delete", "dear", "--wait")


def test_usage_is_shown_with_the_month_s_forecast(cumulet, vm):
    heading, *lines, total, forecast = cumulet("usage").out.splitlines()
    assert heading.split() == ["KIND", "NAME", "COST"]
    assert any(line.split()[:2] == ["vm", vm] for line in lines)
    assert total.startswith("total")
    assert forecast.startswith("this month so far ")


def test_usage_is_shown_by_what_is_asked_for_and_as_csv(cumulet, vm):
    heading, *_ = cumulet("usage", "--by", "day,item").out.splitlines()
    assert heading.split("  ")[0] == "FROM (UTC)"
    rows = list(csv.DictReader(io.StringIO(cumulet("usage", "--by", "resource,item", "-o", "csv").out)))
    assert {row["item"] for row in rows if row["id"] == vm} == {"vcpu", "memory", "ipv4", "storage"}
    labels = cumulet("usage", "--by", "label", "--label", "team", "-o", "json").json
    assert "red" in {row["label"] for row in labels["rows"]}


def test_a_spreadsheet_computes_nothing_of_what_members_wrote():
    members = dict.fromkeys(("startTime", "endTime", "kind", "id", "item", "unit"), "")
    amounts = {name: {"value": "1.5"} for name in ("quantity", "price", "amount")}
    text = usage.as_csv([{**members, **amounts, "label": "=HYPERLINK(1)"}])
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["label"], row["amount"]) == ("'=HYPERLINK(1)", "1.5")


def test_a_vm_is_shown_with_what_it_cost_so_far(cumulet, vm):
    (price,) = (line for line in cumulet("vm", "get", vm).out.splitlines() if line.startswith("price"))
    assert price.endswith(" so far")


def test_what_is_no_month_or_no_group_is_refused(cumulet):
    assert "--month: '2026-13' is not accepted" in cumulet("usage", "--month", "2026-13").err
    assert "by: 'week' is not accepted" in cumulet("usage", "--by", "week").err


def test_a_month_that_has_passed_has_no_forecast(cumulet):
    assert cumulet("usage", "--month", "2026-01").out.splitlines()[-1].split() == ["total", "0.0000"]


def test_a_spend_limit_is_set_shown_and_lifted(cumulet):
    assert "of 250.0000 spent" in cumulet("project", "limit", "250").out
    assert cumulet("project", "limit", "250", "--stop-vms").out.endswith("then its VMs are stopped\n")
    assert "of 250.0000 spent" in cumulet("project", "limit").out
    assert cumulet("project", "limit", "none").code == 0
    assert " of " not in cumulet("project", "limit").out
    assert "limit.value: 'much' is not accepted" in cumulet("project", "limit", "much").err
