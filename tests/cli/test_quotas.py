"""`cumulet quota`, against a server."""

import re


def limits(cumulet):
    return {one["name"]: one["limit"] for one in cumulet("quota", "show", "-o", "json").json}


def test_quotas_are_shown_with_what_is_used_and_who_set_them(cumulet):
    heading, *lines = cumulet("quota", "show").out.splitlines()
    assert heading.split() == ["NAME", "USED", "LIMIT", "SET"]
    shown = {one[0]: one[1:] for one in (re.split("  +", line) for line in lines)}
    assert shown["networks"][1:] == ["100", "for all"]
    assert shown["gpus"][1:] == ["none", "for all"]


def test_a_limit_is_set_lifted_and_given_back(cumulet):
    assert cumulet("quota", "set", "networks", "7").code == 0
    assert limits(cumulet)["networks"] == 7
    assert cumulet("quota", "set", "networks", "none").code == 0
    assert limits(cumulet)["networks"] is None
    assert cumulet("quota", "unset", "networks").code == 0
    assert limits(cumulet)["networks"] == 100


def test_what_is_no_limit_or_no_quota_is_refused(cumulet):
    assert cumulet("quota", "set", "networks", "-1").code == 2
    assert "'few' is not accepted" in cumulet("quota", "set", "networks", "few").err
    unknown = cumulet("quota", "set", "network", "1")
    assert (unknown.code, "there are 'networks'" in unknown.err) == (3, True)
