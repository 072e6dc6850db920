"""A VM's pages: what it is, what can be done with it now, and what its forms do."""

import html
import re

import pytest
from tests.web.conftest import hidden_fields

from cumulet.__main__ import app
from cumulet.projects import Role
from cumulet.security_groups.operations import create_security_group
from cumulet.security_groups.wire import CreateSecurityGroup, Protocol, Rule, RuleType, SecurityGroupAnswer
from cumulet.vms import operations
from cumulet.web.assets import ROOT
from cumulet.web.lets_pass import lets_in, lets_out
from cumulet.web.pages.vm_changes import read_labels, read_span

VMS = "/p/default/vms"
VM = f"{VMS}/hello"


def button(text, name):
    """A button of that name as it is written."""
    return next(one for one in re.findall(r"<button[^>]*>.*?</button>", text, re.DOTALL) if name in one)


def test_buttons_do_what_the_vm_accepts_and_say_why_not(signed_in, cloud):
    cloud.running()
    browser = signed_in()
    assert f'action="{VM}/stop"' in browser.get(VM).text
    cloud.ask(operations.stop_vm)
    stopping = browser.get(VM).text
    assert "it is stopping and must be running" in button(stopping, "Stop")
    assert f'action="{VM}/stop"' not in stopping
    cloud.settle()
    assert f'action="{VM}/start"' in browser.get(VM).text


def test_what_is_refused_is_said_on_the_page(signed_in, cloud):
    cloud.running()
    browser = signed_in()
    answer = browser.send(f"{VM}/start", on=VM)
    assert answer.status_code == 400
    assert "cannot start VM" in html.unescape(answer.text)


def test_a_verb_leads_back_to_the_page_that_it_was_given_on(signed_in, cloud):
    cloud.running()
    browser = signed_in()
    fields = hidden_fields(browser.get(VM).text)
    headers = browser.headers({"origin": browser.origin, "referer": f"{browser.origin}{VMS}?q=hel"})
    answer = browser.client.post(f"{VM}/stop", data=fields, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{VMS}?q=hel")


def test_the_network_is_asked_whether_it_can_be_reached(signed_in, cloud):
    cloud.running()
    browser = signed_in(Role.VIEWER)
    assert "Yes." in browser.get(f"{VM}?from=203.0.113.7&port=22&protocol=tcp").text
    wrong = html.unescape(browser.get(f"{VM}?from=nowhere&port=22").text)
    assert "from: 'nowhere' is not accepted" in wrong
    assert 'value="nowhere"' in wrong


def test_its_screen_is_a_picture_and_its_console_a_link_with_a_ticket(signed_in, cloud):
    cloud.running()
    browser = signed_in()
    assert browser.get(f"{VM}/screen.png").headers["content-type"] == "image/png"
    for kind, sent in (("screen", {"kind": "screen"}), ("serial", {"kind": "serial"})):
        answer = browser.send(f"{VM}/console", on=VM, **sent)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(f"/console/default/hello/{kind}#")


@pytest.mark.parametrize("kind", ["screen", "serial"])
def test_its_console_is_inside_its_page_while_it_has_one(signed_in, cloud, kind):
    cloud.running()
    browser = signed_in()
    (frame,) = re.findall(r'<iframe[^>]* src="([^"]+)"', browser.get(f"{VM}/console?kind={kind}").text)
    page, ticket = browser.get(frame).headers["location"].split("#")
    assert page == f"/console/default/hello/{kind}"
    assert len(ticket) > 20
    cloud.ask(operations.stop_vm)
    cloud.settle()
    off = browser.get(f"{VM}/console?kind={kind}").text
    assert "<iframe" not in off
    assert "it is off and must be running" in off


def test_who_may_only_look_gets_no_ticket(signed_in, cloud):
    cloud.running()
    viewer = signed_in(Role.VIEWER)
    text = viewer.get(f"{VM}/console").text
    assert viewer.get(f"{VM}/console/inside").status_code == 403
    assert "<iframe" not in text
    assert "takes the role EDITOR" in text


def test_what_it_used_is_drawn_and_told_in_numbers(signed_in, cloud):
    cloud.running()
    for _ in range(4):
        cloud.clock.advance(30)
        cloud.measure()
    browser = signed_in(Role.VIEWER)
    for stretch in ("hour", "day", "week", "month"):
        text = browser.get(f"{VM}/graphs?of={stretch}").text
        assert text.count("<svg viewBox") == 4
        assert "<polyline" in text
        assert "Mean" in text
    assert "Nothing is known" not in text
    overview = browser.get(VM).text
    assert overview.count("<svg viewBox") == 4
    assert overview.count(f'href="{VM}/graphs"><div class="graph-head">') == 4


def test_a_time_of_which_nothing_is_known_is_no_empty_graph(signed_in, cloud):
    cloud.running()
    browser = signed_in(Role.VIEWER)
    text = browser.get(f"{VM}/graphs?of=week").text
    assert "Nothing is known of the last week" in text
    assert "<svg viewBox" not in text + browser.get(VM).text


def test_what_keeps_it_from_being_reached_is_mended_by_the_rule_that_lacks(signed_in, cloud):
    data = CreateSecurityGroup(id="web", data_center_id="local")
    cloud.call(create_security_group, project_id="default", data=data)
    cloud.running(security_group_ids=["web"])
    browser = signed_in()
    asked = f"{VM}?from=203.0.113.7&port=22&protocol=tcp"
    page = browser.get(asked).text
    assert "No." in page
    assert "Let tcp 22 in by web" in page
    fields = dict(re.findall(r'name="(protocol|ruleType|ports|ipRangeCidr)" value="([^"]+)"', page))
    answer = browser.send("/p/default/security-groups/web/rules", on=VM, **fields)
    assert answer.status_code == 303
    cloud.sweep()
    assert "Yes." in browser.get(asked).text


def test_deleting_says_first_what_goes_and_what_stays(signed_in, cloud):
    cloud.running()
    cloud.attached()
    browser = signed_in()
    text = browser.get(f"{VM}/delete").text
    goes, _, stays = text.partition("What stays")
    assert "boot disk of" in goes
    assert "The storage disk data, 10 GiB" in stays
    assert browser.send(f"{VM}/delete", on=f"{VM}/delete").headers["location"] == VMS
    assert cloud.vm().state.value == "DELETING"


def test_a_protected_vm_is_deleted_only_when_its_name_is_typed(signed_in, cloud):
    cloud.running(deletion_protection=True)
    browser = signed_in()
    page = f"{VM}/delete"
    refused = browser.send(page, on=page, name="helo")
    assert refused.status_code == 400
    assert 'aria-invalid="true"' in refused.text
    assert 'value="helo"' in refused.text
    assert cloud.vm().state.value == "ACTIVE"
    assert browser.send(page, on=page, name="hello").status_code == 303
    assert cloud.vm().state.value == "DELETING"


def test_settings_are_changed(signed_in, cloud):
    cloud.running()
    browser = signed_in()
    page = f"{VM}/settings"
    assert browser.send(f"{VM}/labels", on=page, metadata="team=web\nprod").status_code == 303
    assert browser.send(f"{VM}/protection", on=page, deletionProtection="yes").status_code == 303
    assert (cloud.vm().metadata, cloud.vm().deletion_protection) == ({"team": "web", "prod": ""}, True)
    browser.send(f"{VM}/protection", on=page, deletionProtection="no")
    assert browser.send(f"{VM}/end", on=page, ttl="2d").status_code == 303
    assert cloud.vm().expire_time is not None
    assert browser.send(f"{VM}/end", on=page, ttl="soon").status_code == 400
    cloud.ask(operations.stop_vm)
    cloud.settle()
    assert browser.send(f"{VM}/size", on=page, vcpus="3", memoryGib="4").status_code == 303
    assert cloud.vm().vcpus == 3


def test_what_gets_in_is_said_and_changes_with_the_security_groups(signed_in, cloud):
    ssh = Rule(protocol=Protocol.TCP, ports="22", rule_type=RuleType.INBOUND)
    data = CreateSecurityGroup(id="ssh", data_center_id="local", rules=[ssh])
    cloud.call(create_security_group, project_id="default", data=data)
    cloud.running()
    browser = signed_in()
    page = f"{VM}/network"
    assert "Lets in everything" in browser.get(page).text
    assert "There is none in" not in signed_in(Role.VIEWER, "vic").get(page).text
    for verb, said in (
        ("attach", "Lets in tcp 22 from anywhere, and nothing else."),
        ("detach", "everything: "),
    ):
        answer = browser.send(f"{VM}/group/{verb}", on=page, securityGroupId="ssh")
        if verb == "attach":  # the first group closes all that it does not name
            assert "(still open: tcp 22 from anywhere)" in answer.text
            answer = browser.send(f"{VM}/group/{verb}", **hidden_fields(answer.text))
        assert (answer.status_code, answer.headers.get("location")) == (303, page), answer.text
        assert said in browser.get(page).text
    refused = browser.send(f"{VM}/group/attach", on=page, securityGroupId="none-such")
    assert refused.status_code == 404


def test_groups_let_pass_together_what_each_does():
    web = group(Rule(protocol=Protocol.TCP, ports="80,443", rule_type=RuleType.INBOUND))
    inside = Rule(protocol=Protocol.ALL, rule_type=RuleType.OUTBOUND, ip_range_cidr="10.0.0.0/8")
    assert lets_in([web, web]) == "Lets in tcp 80,443 from anywhere, and nothing else."
    assert lets_out([web]) == "Lets out everything."
    assert lets_out([web, group(inside)]) == "Lets out everything to 10.0.0.0/8, and nothing else."
    assert lets_in([group(inside)]) == "Lets in nothing."
    assert lets_in([]).startswith("Lets in everything")


def group(*rules):
    return SecurityGroupAnswer(
        project_id="default", data_center_id="local", id="one", description="", rules=list(rules)
    )


@pytest.mark.parametrize("page", ["", "/network", "/disks", "/timeline"])
def test_a_viewer_sees_the_pages_and_no_form_that_changes_something(signed_in, cloud, page):
    cloud.running()
    text = signed_in(Role.VIEWER).get(VM + page).text
    assert re.findall(r'method="post" action="(?!/logout)', text) == []


def test_words_of_people_are_read():
    assert read_labels("team=web, prod\n\n a = b ") == {"team": "web", "prod": "", "a": "b"}
    assert [read_span(text) for text in ("90m", "2d", "45s", "x", "")] == ["5400s", "172800s", "45s", "x", ""]


def test_commands_that_pages_show_are_there():
    text = "".join(path.read_text() for path in (ROOT.parent / "templates").rglob("*.html"))
    shown = {" ".join(found.split()) for found in re.findall(r"cumulet ([a-z][a-z -]*[a-z])(?= |<|\")", text)}
    assert len(shown) > 5
    for words in shown:
        chain, _, _ = app.parse_commands([one for one in words.split() if not one.startswith("-")])
        assert len(chain) in {1, 2, 3}, words
        assert chain != ("vm",), words
