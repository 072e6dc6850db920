"""Hosts as pages, for operators and auditors."""

import html
import re
from urllib.parse import quote

import pytest
from tests.made_up import make_cloud
from tests.projects.people import add_user

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import DrainHost
from cumulet.gpus import GpuState
from cumulet.gpus.operations import list_gpus
from cumulet.hosts import HostState, HostWanted
from cumulet.hypervisor.memory import made_up_id
from cumulet.permission import CloudRole
from cumulet.projects import Role
from cumulet.vms.move_operations import list_moves, move_vm
from cumulet.vms.operations import stop_vm
from cumulet.vms.wire import MoveVm

HOST = "/hosts/memory-1"


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


def test_an_operator_cordons_drains_and_gives_back(as_one, cloud):
    browser = as_one(CloudRole.OPERATOR)
    assert browser.send(f"{HOST}/ask", on=HOST, way="cordon", reason="a new fan").headers["location"] == HOST
    assert (host(cloud).state, host(cloud).why) == (HostState.CORDONED, "a new fan")
    assert "a new fan" in browser.get(HOST).text
    assert browser.send(f"{HOST}/ask", on=HOST, way="restart").status_code == 303
    assert host(cloud).wanted is HostWanted.DRAINED
    assert browser.send(f"{HOST}/uncordon", on=HOST).status_code == 303
    assert host(cloud).state is HostState.UP
    assert "it does already" in browser.get(HOST).text
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
    assert "although it is drained" in browser.get(f"/hosts/{there}").text


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
