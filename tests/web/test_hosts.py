"""Hosts as pages, for operators and auditors."""

import html
import re
from urllib.parse import quote

import pytest
from sqlalchemy import select
from tests.made_up import make_cloud
from tests.projects.people import add_user
from tests.waiting import eventually

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import DrainHost
from cumulet.gpus import GpuState
from cumulet.gpus.operations import list_gpus
from cumulet.hosts import Host, HostState, HostWanted
from cumulet.hypervisor.memory import made_up_id
from cumulet.line.ssh import fingerprint
from cumulet.permission import CloudRole
from cumulet.projects import Role
from cumulet.vms.move_operations import list_moves, move_vm
from cumulet.vms.operations import stop_vm
from cumulet.vms.wire import MoveVm

HOST = "/hosts/memory-1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG9uZSBrZXkgdGhhdCBub2JvZHkgaGFzIGluIHRydXRo"
FINGERPRINT = fingerprint(KEY)


@pytest.fixture
def cloud(database, tmp_path):
    uri = "memory:?hosts=2&vcpus=8&memory_gib=16&disk_gib=100&gpus=1&gpu_model=H100"
    catalogue = with_gpus(read_catalogue(None), "H100", made_up_id("H100"))
    cloud = make_cloud(database, tmp_path, hypervisor=uri, catalogue=catalogue)
    cloud.sweep()
    return cloud


@pytest.fixture
def as_one(signed_in, cloud):
    """Sign somebody in who is this in the cloud, and in no project."""
    assert cloud.owner

    def sign_in(role):
        with cloud.database.writing() as db:
            add_user(db, role.name, role)
        browser = signed_in(Role.VIEWER)
        browser.sign_in(role.name)
        return browser

    return sign_in


def host(cloud):
    return cloud.call(hosts.get_host, id="memory-1").host


def test_hosts_show_how_full_they_are_and_what_is_on_them(as_one, cloud):
    browser = as_one(CloudRole.AUDITOR)
    with_vm = cloud.call(hosts.list_hosts).hosts[0].id
    cloud.running(vm_id="web", vcpus=2, memory_gib=4)
    text = browser.get("/hosts").text
    assert re.search(r"Memory, GiB</span><span><b[^>]*>4</b> of 16", text)
    assert len(re.findall(r'<tr id="host-memory-\d"', text)) == 2
    pages = "".join(browser.get(f"/hosts/{one.id}").text for one in cloud.call(hosts.list_hosts).hosts)
    assert 'href="/p/default/vms/web"' in pages
    assert browser.get(f"/hosts/{with_vm}").status_code == 200
    assert browser.get("/hosts/nowhere").status_code == 404


@pytest.mark.parametrize(
    ("has", "wanted", "words"),
    [
        (True, True, "here"),
        (False, False, "elsewhere"),
        (False, True, "being brought here"),
        (True, False, "here, going elsewhere"),
    ],
)
def test_a_host_tells_whether_it_has_ovns_databases(as_one, cloud, has, wanted, words):
    with cloud.database.writing() as db:
        for one in db.scalars(select(Host)):
            one.is_central, one.central = has, wanted
    shown = as_one(CloudRole.AUDITOR).get(HOST).text
    assert f"<dt>OVN's databases</dt><dd>{words}</dd>" in shown


def test_hosts_are_found_by_a_part_of_their_names_by_who_may_see_them(as_one, signed_in):
    auditor = as_one(CloudRole.AUDITOR)
    assert auditor.get("/find?q=Y-1").json() == [{"name": "memory-1", "what": "host", "url": HOST}]
    assert signed_in(Role.OWNER, "bob").get("/find?q=y-1").json() == []


def test_an_operator_cordons_drains_and_gives_back(as_one, cloud):
    browser = as_one(CloudRole.OPERATOR)
    assert browser.send(f"{HOST}/ask", on=HOST, way="cordon", reason="a new fan").headers["location"] == HOST
    assert (host(cloud).state, host(cloud).why) == (HostState.CORDONED, "a new fan")
    assert "a new fan" in browser.get(HOST).text
    assert browser.send(f"{HOST}/ask", on=HOST, way="restart").status_code == 303
    assert host(cloud).wanted is HostWanted.DRAINED
    assert browser.send(f"{HOST}/uncordon", on=HOST).status_code == 303
    assert host(cloud).state is HostState.UP
    assert "Let it take VMs again" not in browser.get(HOST).text
    wrong = browser.send(f"{HOST}/ask", on=HOST, way="drain", reason="x" * 501)
    assert wrong.status_code == 400
    assert re.search(r'name="reason"[^>]*aria-invalid="true"', wrong.text)
    assert re.search(r'value="drain" checked', wrong.text)


def test_what_cannot_leave_a_drained_host_is_told(as_one, cloud):
    browser = as_one(CloudRole.AUDITOR)
    cloud.running(vm_id="web")
    there = next(one.id for one in cloud.call(hosts.list_hosts).hosts if one.vms)
    other = next(one.id for one in cloud.call(hosts.list_hosts).hosts if not one.vms)
    cloud.call(hosts.cordon_host, id=other, data=hosts.AskOfHost())
    cloud.call(hosts.drain_host, id=there, data=DrainHost())
    cloud.settle()
    text = browser.get(f"/hosts/{there}").text
    assert "although it is drained" in text
    assert re.search(r"1 VM still runs here, 1 stays for the reason below", text)


def test_a_move_under_way_is_shown_and_can_be_aborted(as_one, cloud):
    browser = as_one(CloudRole.OPERATOR)
    cloud.running(vm_id="web")
    cloud.ask(stop_vm, "web")
    cloud.settle()
    cloud.call(move_vm, data=MoveVm(project_id="default", vm_id="web"))
    text = browser.get("/hosts").text
    assert 'data-tone="wait"' in text
    url = html.unescape(re.search(r'action="(/hosts/[^"]+/abort)"', text)[1])
    assert browser.send(url, on="/hosts").status_code == 303
    assert cloud.call(list_moves).moves == []
    assert "VMs that move" not in browser.get("/hosts").text


def test_a_gpu_is_shown_with_its_state_withdrawn_offered_again_and_cleaned(as_one, cloud):
    browser = as_one(CloudRole.OPERATOR)
    (gpu,) = cloud.call(list_gpus, host_id="memory-1").gpus
    text = browser.get(HOST).text
    assert (gpu.address in text, "H100" in text) == (True, True)
    url = f"{HOST}/gpus/{quote(gpu.id, safe='')}"
    assert browser.send(f"{url}/withdraw", on=HOST).headers["location"] == HOST
    assert cloud.call(list_gpus, host_id="memory-1").gpus[0].withdrawn
    assert "withdrawn" in browser.get(HOST).text
    assert browser.send(f"{url}/offer", on=HOST).status_code == 303
    assert browser.send(f"{url}/clean", on=HOST).status_code == 303
    (gpu,) = cloud.call(list_gpus, host_id="memory-1").gpus
    assert (gpu.withdrawn, gpu.state) == (False, GpuState.CLEANING)
    assert browser.send(f"{url}/sell", on=HOST).status_code == 404


def test_an_auditor_sees_no_button_and_who_is_neither_no_page(as_one, signed_in, cloud):
    browser = as_one(CloudRole.AUDITOR)
    assert not re.search(r'action="/hosts', browser.get(HOST).text)
    assert browser.send(f"{HOST}/ask", on=HOST, way="cordon").status_code == 403
    assert host(cloud).state is HostState.UP
    browser = signed_in(Role.OWNER, "bob")
    assert [browser.get(path).status_code for path in ("/hosts", HOST)] == [403, 403]
    assert "/hosts" not in browser.get("/p/default/vms").text


def test_a_machine_is_added_and_each_step_is_told(as_one, cloud):
    browser = as_one(CloudRole.OPERATOR)
    assert "ssh-ed25519 AAAA cumulet@server" in html.unescape(browser.get("/new-host").text)
    given = {"destination": "root@node-9:2222", "labels": "rack=3, fast", "hostKey": KEY}
    answer = browser.send("/new-host", on="/new-host", **given)
    assert answer.headers["location"] == "/hosts/node-9"
    text = browser.get("/hosts/node-9").text
    assert 'value="fast, rack=3"' in text
    assert "root@node-9:2222" in text
    assert FINGERPRINT in text
    assert re.search(r'data-tone="wait"><span class="strong">Its SSH key|waiting for its turn', text)
    eventually(lambda: cloud.pass_time(1) or "failed while" in browser.get("/hosts/node-9").text)
    text = browser.get("/hosts/node-9").text
    assert re.search(r'data-tone="bad"><span class="strong">What runs there', text)
    assert "nobody answers" in text


def test_what_is_wrong_with_a_new_machine_stands_at_its_field_with_the_input_kept(as_one, cloud):
    browser = as_one(CloudRole.OPERATOR)
    wrong = browser.send("/new-host", on="/new-host", destination="bob@node-9", labels="rack=3", hostKey="?")
    assert wrong.status_code == 400
    assert re.search(r'name="destination"[^>]*value="bob@node-9"[^>]*aria-invalid="true"', wrong.text)
    assert 'value="rack=3"' in wrong.text
    assert len(cloud.call(hosts.list_hosts).hosts) == 2


def test_labels_of_a_host_are_changed(as_one, cloud):
    browser = as_one(CloudRole.OPERATOR)
    assert browser.send(f"{HOST}/labels", on=HOST, labels="rack=3, fast").headers["location"] == HOST
    assert host(cloud).labels == {"rack": "3", "fast": ""}
    wrong = browser.send(f"{HOST}/labels", on=HOST, labels="x" * 64)
    assert re.search(r'name="labels"[^>]*aria-invalid="true"', wrong.text)


def test_a_host_is_removed_once_nothing_is_on_it(as_one, cloud):
    browser = as_one(CloudRole.OPERATOR)
    cloud.running(vm_id="web")
    there, other = sorted(cloud.call(hosts.list_hosts).hosts, key=lambda one: -one.vms)
    assert "1 VM" in browser.get(f"/hosts/{there.id}/remove").text
    refused = browser.send(f"/hosts/{there.id}/remove", on=f"/hosts/{there.id}/remove")
    assert refused.status_code == 400
    assert "cannot be removed" in refused.text
    assert browser.send(f"/hosts/{other.id}/remove", on="/hosts").headers["location"] == "/hosts"
    assert [one.id for one in cloud.call(hosts.list_hosts).hosts] == [there.id]


def test_a_silent_host_is_given_up_by_its_name_alone(as_one, cloud):
    browser = as_one(CloudRole.OPERATOR)
    assert "only one that is SILENT" in browser.get(f"{HOST}/lost").text
    for one in cloud.hosts.values():
        one.unreachable = True
    cloud.sweep()
    cloud.pass_time(15)
    assert f'href="{HOST}/lost"' in browser.get(HOST).text
    wrong = browser.send(f"{HOST}/lost", on=f"{HOST}/lost", confirm="memory-2")
    assert re.search(r'name="confirm"[^>]*value="memory-2"[^>]*aria-invalid="true"', wrong.text)
    assert host(cloud).state is HostState.SILENT
    assert browser.send(f"{HOST}/lost", on=f"{HOST}/lost", confirm="memory-1").headers["location"] == HOST
    assert host(cloud).state is HostState.LOST


def test_auditors_look_and_are_shown_no_way_to_change_a_host(as_one):
    browser = as_one(CloudRole.AUDITOR)
    assert browser.get("/new-host").status_code == 403
    assert not re.search("/remove|/lost|/new-host", browser.get(HOST).text + browser.get("/hosts").text)
