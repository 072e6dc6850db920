"""Security groups on pages: rules one by one, sentences of them, and what a change cuts before it is made."""

import html
import re

import pytest
from tests.web.conftest import hidden_fields

from cumulet.projects import Role
from cumulet.security_groups.operations import create_security_group, get_security_group
from cumulet.security_groups.wire import CreateSecurityGroup, Protocol, Rule, RuleType, SecurityGroupAnswer
from cumulet.web.group_effects import Effect, NicChange, alike, effects_of, lost
from cumulet.web.paging import PAGE_SIZE

GROUPS = "/p/default/security-groups"
GROUP = f"{GROUPS}/web"
SSH = Rule(id="ssh", protocol=Protocol.TCP, ports="22", rule_type=RuleType.INBOUND)
PING = Rule(id="ping", protocol=Protocol.ICMP, icmp_type="8", rule_type=RuleType.INBOUND)
INSIDE = Rule(id="in", protocol=Protocol.ALL, rule_type=RuleType.OUTBOUND, ip_range_cidr="10.0.0.0/8")
NEW_RULE = {"protocol": "PROTOCOL_TCP", "ruleType": "RULE_TYPE_INBOUND", "ports": "443", "ipRangeCidr": ""}


@pytest.fixture
def web(cloud):
    data = CreateSecurityGroup(id="web", data_center_id="local", description="The web", rules=[SSH, PING])
    cloud.call(create_security_group, project_id="default", data=data)
    cloud.settle()


def rules(cloud):
    group = cloud.call(get_security_group, project_id="default", id="web").security_group
    assert group.description == "The web"
    return group.rules


def group(*rules):
    return SecurityGroupAnswer(
        project_id="default", data_center_id="local", id="one", description="", rules=list(rules)
    )


def tcp(ports, peer=""):
    return Rule(protocol=Protocol.TCP, ports=ports, rule_type=RuleType.INBOUND, ip_range_cidr=peer)


def udp(ports):
    return Rule(protocol=Protocol.UDP, ports=ports, rule_type=RuleType.INBOUND)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ([SSH], [SSH], []),
        ([SSH], [], ["in: tcp 22 from anywhere"]),
        ([tcp("20:30,80")], [tcp("22"), tcp("25:90")], ["in: tcp 20:21,23:24 from anywhere"]),
        ([tcp("80")], [Rule(protocol=Protocol.ALL, rule_type=RuleType.INBOUND)], []),
        ([tcp("")], [tcp("22")], ["in: tcp 1:21,23:65535 from anywhere"]),
        ([SSH], [udp("22")], ["in: tcp 22 from anywhere"]),
        ([SSH], [tcp("22", "10.0.0.0/8")],
         ["in: tcp 22 from anywhere (still open: tcp 22 from 10.0.0.0/8)"]),
        ([tcp("22", "10.1.0.0/16")], [tcp("22", "10.0.0.0/8")], []),
        ([tcp("22", "2001:db8::/32")], [tcp("22", "10.0.0.0/8")], ["in: tcp 22 from 2001:db8::/32"]),
        ([PING], [Rule(protocol=Protocol.ICMP, rule_type=RuleType.INBOUND)], []),
        ([Rule(protocol=Protocol.ICMP, rule_type=RuleType.INBOUND)], [PING],
         ["in: icmp from anywhere (still open: icmp 8 from anywhere)"]),
        ([], [INSIDE], ["out: everything to anywhere (still open: everything to 10.0.0.0/8)"]),
        ([INSIDE], [], []),
    ],
)  # fmt: skip
def test_what_no_longer_passes_is_what_no_rule_lets_pass_any_more(before, after, words):
    assert lost([group(*before)], [group(*after)]) == words


def test_the_first_group_closes_what_it_does_not_name_and_the_last_opens_all():
    first = NicChange("hello", [], [group(SSH)])
    words = "in: everything from anywhere"
    assert effects_of([first]) == [Effect("hello", [f"{words} (still open: tcp 22 from anywhere)"], [])]
    last = NicChange("hello", [group(SSH)], [])
    assert [one.cut for one in effects_of([last])] == [[]]
    assert effects_of([last])[0].opened[0].startswith(words)


def test_vms_to_which_the_same_happens_are_told_together():
    narrowed = [NicChange(vm, [group(SSH)], []) for vm in ("a", "b")]
    closed = NicChange("c", [group(SSH)], [group()])
    assert [vms for vms, _ in alike(effects_of([*narrowed, closed]))] == [["a", "b"], ["c"]]


def test_many_vms_that_have_it_come_in_pages(signed_in, cloud, web):
    for number in range(PAGE_SIZE + 2):
        cloud.create(vm_id=f"vm-{number:02}", memory_gib=1, vcpus=1, security_group_ids=["web"])
    browser = signed_in()
    assert browser.get(GROUP).text.count('action="/p/default/security-groups/web/detach"') == PAGE_SIZE
    assert "vm-51" in browser.get(f"{GROUP}?page=2").text.partition('id="vms"')[2]
    assert "and 32 more" in browser.get(f"{GROUP}/delete").text
    assert "and 32 more" in browser.send(f"{GROUP}/rules/ssh/delete", on=GROUP).text


def test_a_rule_is_added_changed_and_removed_and_the_others_stay_as_they_are(signed_in, cloud, web):
    browser = signed_in()
    answer = browser.send(f"{GROUP}/rules", on=GROUP, **NEW_RULE)
    assert answer.headers.get("location") == GROUP, answer.text
    ssh, ping, added = rules(cloud)
    assert (ssh, ping, added.ports) == (SSH, PING, "443")
    page = f"{GROUP}/rules/ping"
    fields = rule_fields(browser.get(page).text)
    assert fields["icmpType"] == "8"
    assert browser.send(page, on=page, **fields).status_code == 303
    assert rules(cloud) == [ssh, ping, added]
    assert browser.send(page, on=page, **fields | {"ipRangeCidr": "10.0.0.0/8"}).status_code == 303
    assert rules(cloud)[1] == Rule(**{**as_dict(PING), "ip_range_cidr": "10.0.0.0/8"})
    assert browser.send(f"{GROUP}/rules/ssh/delete", on=GROUP).status_code == 303
    assert [one.id for one in rules(cloud)] == ["ping", added.id]
    assert browser.get(f"{GROUP}/rules/ssh").status_code == 404


def as_dict(rule):
    return {name: getattr(rule, name) for name in rule.__struct_fields__}


def rule_fields(text):
    """The fields of a rule's form as a browser would send them untouched."""
    chosen = re.findall(r'<select[^>]* name="(\w+)".*?<option value="(\w+)" selected', text, re.DOTALL)
    inputs = re.findall(r'<input id="\w+" name="(\w+)"[^>]* value="([^"]*)"', text)
    return dict(chosen) | dict(inputs)


def test_what_is_wrong_with_a_rule_stands_beside_its_field_with_the_input_kept(signed_in, cloud, web):
    browser = signed_in()
    for url, page in ((f"{GROUP}/rules", GROUP), (f"{GROUP}/rules/ping", f"{GROUP}/rules/ping")):
        answer = browser.send(url, on=page, **NEW_RULE | {"ports": "99999"})
        assert answer.status_code == 400
        text = html.unescape(answer.text)
        beside = text.partition('<input id="ports"')[2].partition("</div>\n</div>")[0]
        assert 'value="99999"' in beside
        assert 'aria-invalid="true"' in beside
        assert "ports from 1 to 65535" in beside
    assert rules(cloud) == [SSH, PING]


def test_what_a_change_cuts_is_shown_first_and_done_when_agreed_to(signed_in, cloud, web):
    cloud.running(security_group_ids=["web"])
    browser = signed_in()
    url = f"{GROUP}/rules/ssh/delete"
    shown = browser.send(url, on=GROUP)
    assert shown.status_code == 200
    assert "hello" in shown.text
    assert "in: tcp 22 from anywhere" in shown.text
    assert rules(cloud) == [SSH, PING]
    agreed = hidden_fields(shown.text)
    cloud.running(vm_id="late", security_group_ids=["web"])
    assert "late" in browser.send(url, **agreed).text  # other than what was agreed to: asked anew
    assert rules(cloud) == [SSH, PING]
    assert browser.send(url, **hidden_fields(browser.send(url, on=GROUP).text)).status_code == 303
    assert rules(cloud) == [PING]


def test_the_review_has_the_form_again(signed_in, cloud, web):
    cloud.running(security_group_ids=["web"])
    browser = signed_in()
    page = f"{GROUP}/rules/ssh"
    narrower = {**rule_fields(browser.get(page).text), "ipRangeCidr": "10.0.0.0/8"}
    shown = browser.send(page, on=page, **narrower)
    assert "(still open: tcp 22 from 10.0.0.0/8)" in shown.text
    assert browser.send(page, **hidden_fields(shown.text)).status_code == 303
    assert rules(cloud)[0].ip_range_cidr == "10.0.0.0/8"


def test_it_is_attached_and_detached_here_and_says_what_that_closes(signed_in, cloud, web):
    cloud.running()
    browser = signed_in()
    shown = browser.send(f"{GROUP}/attach", on=GROUP, vmId="hello")
    assert "in: everything from anywhere (still open: tcp 22 from anywhere; icmp 8" in shown.text
    assert cloud.vm().security_group_ids == []
    assert browser.send(f"{GROUP}/attach", **hidden_fields(shown.text)).headers["location"] == GROUP
    assert cloud.vm().security_group_ids == ["web"]
    text = browser.get(f"{GROUP}/delete").text
    assert "VMs have it: detach it from them first" in text
    assert browser.send(f"{GROUP}/detach", on=GROUP, vmId="hello").status_code == 303
    assert cloud.vm().security_group_ids == []


def test_it_is_created_with_presets_described_and_deleted(signed_in, cloud):
    browser = signed_in()
    new = "/p/default/new-security-group"
    headers = browser.headers({"origin": browser.origin})
    fields = hidden_fields(browser.get(new).text) | {"id": "web", "preset": ["SSH", "Web"]}
    made = browser.client.post(new, data=fields, headers=headers)
    assert (made.status_code, made.headers["location"]) == (303, GROUP)
    assert (
        "Lets in tcp 22 from anywhere; tcp 80,443 from anywhere, and nothing else." in browser.get(GROUP).text
    )
    assert browser.send(f"{GROUP}/description", on=GROUP, description="The web").status_code == 303
    assert [one.ports for one in rules(cloud)] == ["22", "80,443"]
    assert "The web" in browser.get(GROUPS).text
    wrong = browser.send(new, on=new, id="Not An Id")
    assert (wrong.status_code, 'aria-invalid="true"' in wrong.text) == (400, True)
    assert browser.send(f"{GROUP}/delete", on=f"{GROUP}/delete").headers["location"] == GROUPS
    cloud.settle()
    assert "No security groups yet" in browser.get(GROUPS).text


@pytest.mark.parametrize("page", ["", "/web", "/web/rules/ssh", "/web/delete"])
def test_a_viewer_sees_the_pages_and_no_form_that_changes_something(signed_in, cloud, web, page):
    cloud.running(security_group_ids=["web"])
    browser = signed_in(Role.VIEWER)
    text = browser.get(GROUPS + page).text
    assert "web" in text
    assert not re.search(r"<button class=\"button( main| danger)?\"[^>]*>(?!.*Find)", text)
    assert "Create group" not in text
    assert browser.send(f"{GROUP}/rules", on="/p/default/vms", **NEW_RULE).status_code == 403


def test_those_of_another_project_are_not_there(signed_in):
    browser = signed_in()
    for page in ("security-groups", "security-groups/web", "new-security-group"):
        assert browser.get(f"/p/theirs/{page}").status_code == 404
