"""Networks on pages: the map of them, what is on each, and what their forms do."""

import html
import re

import pytest

from cumulet.networks.operations import create_network, get_network
from cumulet.networks.wire import CreateNetwork
from cumulet.projects import Role
from cumulet.vms.wire import NicRequest
from cumulet.web.network_map import MOST

NETWORKS = "/p/default/networks"
BACKEND = f"{NETWORKS}/backend"
NEW = "/p/default/new-network"


@pytest.fixture
def backend(cloud):
    data = CreateNetwork(id="backend", data_center_id="local", ip_range="10.1.0.0/24")
    cloud.call(create_network, project_id="default", data=data)
    cloud.settle()


def state(cloud):
    return cloud.call(get_network, project_id="default", id="backend").network.state.value


def links(text):
    """Where the map leads, top down."""
    return re.findall(r'<a href="([^"]+)">', text.partition('<svg class="map"')[2].partition("</svg>")[0])


def test_an_empty_project_says_what_to_do(signed_in):
    text = signed_in().get(NETWORKS).text
    assert "No networks yet" in text
    assert "cumulet network create backend 10.1.0.0/24 --project default" in text


def test_the_map_shows_each_vm_on_its_networks_and_what_it_lets_in(signed_in, cloud, backend):
    cloud.running(vm_id="front")
    cloud.running(vm_id="inner", nics=[NicRequest(network_id="backend")])
    browser = signed_in()
    text = html.unescape(browser.get(NETWORKS).text)
    there = links(text)
    assert [one.rpartition("/p/default")[2] for one in there] == [
        "/vms/inner/network", "/networks/backend", "/vms/front/network", "/networks/default-local",
    ]  # fmt: skip
    drawn = text.partition('<svg class="map"')[2].partition("</svg>")[0]
    for words in ("10.1.0.0/24", "open: no group", "the Internet", "Router of local"):
        assert words in drawn
    page = browser.get(BACKEND).text
    assert "inner" in page
    assert cloud.vm("inner").nics[0].internal_ip_address in page
    assert "front" not in page


def test_a_map_of_many_tells_how_many_more_there_are(signed_in, cloud):
    for number in range(MOST + 3):
        cloud.create(vm_id=f"vm-{number:02}", memory_gib=1, vcpus=1)
    text = signed_in().get(NETWORKS).text
    assert "3 more" in text
    assert len(links(text)) == MOST + 2
    assert "11 VMs" in text


def test_one_is_created_with_a_range_that_is_free(signed_in, cloud, backend):
    browser = signed_in()
    text = browser.get(NEW).text
    assert 'value="10.2.0.0/24"' in text
    wrong = browser.send(NEW, on=NEW, id="second", ipRange="10.1.0.0/25")
    beside = html.unescape(wrong.text).partition('<input id="ipRange"')[2].partition("</div>\n</div>")[0]
    assert (wrong.status_code, 'value="10.1.0.0/25"' in beside) == (400, True)
    assert "which network backend uses" in beside
    made = browser.send(NEW, on=NEW, id="second", ipRange="10.2.0.0/24")
    assert made.headers["location"] == f"{NETWORKS}/second"


def test_it_is_disconnected_and_connected_again(signed_in, cloud, backend):
    browser = signed_in()
    assert browser.send(f"{BACKEND}/stop", on=BACKEND).headers["location"] == BACKEND
    assert "it is being disconnected still" in browser.get(BACKEND).text
    cloud.settle()
    assert state(cloud) == "STOPPED"
    assert 'class="line apart"' in browser.get(NETWORKS).text
    assert browser.send(f"{BACKEND}/start", on=BACKEND).status_code == 303
    cloud.settle()
    assert state(cloud) == "ACTIVE"


def test_deleting_says_first_what_is_on_it(signed_in, cloud, backend):
    cloud.running(vm_id="inner", nics=[NicRequest(network_id="backend")])
    browser = signed_in()
    text = browser.get(f"{BACKEND}/delete").text
    assert "inner" in text.partition("What stays")[2]
    assert "VMs are on it: delete them first" in text
    refused = browser.send(f"{BACKEND}/delete", on=f"{BACKEND}/delete")
    assert (refused.status_code, "terminate them first" in refused.text) == (400, True)


def test_one_that_nothing_is_on_goes(signed_in, cloud, backend):
    browser = signed_in()
    assert browser.send(f"{BACKEND}/delete", on=f"{BACKEND}/delete").headers["location"] == NETWORKS
    cloud.settle()
    assert browser.get(BACKEND).status_code == 404


@pytest.mark.parametrize("page", ["", "/backend", "/backend/delete"])
def test_a_viewer_sees_the_pages_and_no_changing_button(signed_in, cloud, backend, page):
    browser = signed_in(Role.VIEWER)
    text = browser.get(NETWORKS + page).text
    assert "backend" in text
    assert not re.search(r'<button class="button( main| danger| )?"', text)
    assert "Create network" not in text
    assert browser.send(f"{BACKEND}/stop", on="/p/default/vms").status_code == 403


def test_those_of_another_project_are_not_there(signed_in):
    browser = signed_in()
    for page in ("networks", "networks/backend", "new-network"):
        assert browser.get(f"/p/theirs/{page}").status_code == 404
