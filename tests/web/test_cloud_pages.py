"""Pages of the whole cloud: its catalogue, its health, and the audit."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.projects.people import add_user

from cumulet.doctor.calls import degraded
from cumulet.due import Due, Kind
from cumulet.fleet import operations as hosts
from cumulet.hypervisor import Seed
from cumulet.permission import CloudRole
from cumulet.projects import Role
from cumulet.vms.operations import stop_vm


@pytest.fixture
def auditor(signed_in, cloud):
    """Somebody who may look at everything, and belongs to nothing."""
    assert cloud.owner
    with cloud.database.writing() as db:
        add_user(db, "audrey", CloudRole.AUDITOR)
    browser = signed_in(Role.OWNER)
    browser.sign_in("audrey")
    return browser


def test_the_catalogue_tells_everybody_what_there_is_and_for_how_much(signed_in):
    text = signed_in(Role.VIEWER).get("/catalogue").text
    assert "standard" in text
    assert "a month" in text
    assert re.search(r'<p class="mono faint">micro</p>', text)


def test_health_of_a_cloud_that_lacks_nothing_says_so(auditor, cloud):
    cloud.running()
    text = auditor.get("/health").text
    assert "All is well" in text
    assert "whatever is asked for comes to its end" in text
    assert "cumulet doctor" in text


def test_a_host_that_does_not_answer_is_a_finding_with_what_mends_it(auditor, cloud):
    for host in cloud.hosts.values():
        host.unreachable = True
    cloud.sweep()
    cloud.pass_time(15)
    name = cloud.call(hosts.list_hosts).hosts[0].id
    text = auditor.get("/health").text
    assert f"Host {name} is SILENT" in text
    assert "cumulet host lost gives it up" in text
    assert "All is well" not in text


def test_what_doctors_find_stands_once_for_all_hosts_with_its_cost_and_its_cure(auditor, cloud):
    cloud.findings = [degraded("kvm", "there is no /dev/kvm", cost="speed", cure="modprobe kvm_intel")]
    hosts_there = [one.id for one in cloud.call(hosts.list_hosts).hosts]
    for id in hosts_there:
        cloud.call(hosts.examine_host, id=id)
    cloud.run()
    text = auditor.get("/health").text
    assert text.count("there is no /dev/kvm. It costs: speed") == 1
    assert re.search(r"modprobe kvm_intel <button[^>]*data-copy=", text)
    for id in hosts_there:
        assert f'href="/hosts/{id}"' in text
        assert "there is no /dev/kvm" in auditor.get(f"/hosts/{id}").text


def test_what_was_never_known_is_a_finding_and_what_was_put_right_is_told(auditor, cloud):
    id = uuid4()
    cloud.host.seeds.write(
        Seed(vm_id=id, instance_id="", hostname="", ssh_keys=(), password_hash="", start_script="")
    )
    cloud.sweep()
    text = auditor.get("/health").text
    assert "has what this database has never known" in text
    assert str(id) in text
    assert "there that the database has never known: 1 seed" in text
    name = cloud.call(hosts.list_hosts).hosts[0].id
    assert "1 seed that this database has never known" in auditor.get(f"/hosts/{name}").text


def test_operators_have_all_hosts_examined_again_and_auditors_do_not(auditor, signed_in, cloud):
    assert 'action="/health/examine"' not in auditor.get("/health").text
    assert auditor.send("/health/examine", on="/hosts").status_code == 403
    with cloud.database.writing() as db:
        add_user(db, "otto", CloudRole.OPERATOR)
    operator = signed_in(Role.VIEWER, "vera")
    operator.sign_in("otto")
    assert operator.send("/health/examine", on="/health").headers["location"] == "/health"
    cloud.run()
    name = cloud.call(hosts.list_hosts).hosts[0].id
    assert cloud.call(hosts.get_host, id=name).host.examined_time is not None
    assert operator.send(f"/hosts/{name}/examine", on="/hosts").headers["location"] == f"/hosts/{name}"


def test_what_takes_longer_than_it_may_is_told_by_name_and_why(auditor, cloud):
    cloud.running(vm_id="web")
    cloud.ask(stop_vm, "web")
    with cloud.database.writing() as db:
        due = next(one for one in db.query(Due) if one.kind == Kind.VM)
        due.since, due.overdue = cloud.clock() - timedelta(minutes=11), True
        due.why = "its host to answer"
    text = auditor.get("/health").text
    assert re.search(r'href="/p/default/vms/web">web</a>', text)
    assert "its host to answer" in text


def test_the_audit_tells_what_was_asked_for_and_who_was_refused(auditor, cloud):
    auditor.send("/hosts/nowhere/ask", on="/hosts", way="cordon")
    text = auditor.get("/audit").text
    assert "cordon_host" in text
    assert "PERMISSION_DENIED" in text
    assert "PERMISSION_DENIED" in auditor.get("/audit?refused=yes").text
    assert "Nothing fits" in auditor.get("/audit?user=nobody@example.org").text


def test_who_is_no_auditor_sees_no_health_and_of_the_audit_their_projects_alone(signed_in, cloud):
    browser = signed_in(Role.VIEWER)
    assert browser.get("/health").status_code == 403
    text = browser.get("/audit").text
    assert "Nothing was asked for yet" in text
    assert 'href="/health"' not in text
