"""The list of VMs: its filter, its pages, and what it takes."""

import gzip
import re

import pytest
from tests.made_up import PROJECT

from cumulet.vms import operations
from cumulet.web.pages.vm_list import fits
from cumulet.web.paging import PAGE_SIZE
from cumulet.web.vm_states import ListedVm

VMS = "/p/default/vms"


def rows(browser, query=""):
    return re.findall(r'<tr id="vm-([^"]+)"', browser.get(f"{VMS}{query}").text)


def test_the_filter_takes_names_addresses_labels_and_states(signed_in, cloud):
    browser = signed_in()
    cloud.running(vm_id="web", metadata={"team": "blue"})
    cloud.running(vm_id="db")
    cloud.ask(operations.stop_vm, "db")
    cloud.settle()
    assert rows(browser) == ["db", "web"]
    assert rows(browser, "?q=WE") == rows(browser, "?q=team%3Dblue") == ["web"]
    assert rows(browser, f"?q={cloud.vm('db').external_ip_address}") == ["db"]
    assert (rows(browser, "?state=off"), rows(browser, "?state=good&q=db")) == (["db"], [])
    assert rows(browser, "?page=99") == rows(browser, "?page=x") == ["db", "web"]


def test_each_vm_that_runs_shows_how_busy_it_is(signed_in, cloud):
    browser = signed_in()
    for id in ("web", "db"):
        cloud.running(vm_id=id)
    cloud.ask(operations.stop_vm, "db")
    cloud.measure()
    cloud.pass_time(60)
    text = browser.get(VMS).text
    shown = {
        id: re.search(rf'<tr id="vm-{id}".*?col-cpu[^>]*>(.*?)</td>', text, re.DOTALL)[1]
        for id in ("web", "db")
    }
    assert "2 %" in shown["web"]
    assert "%" not in shown["db"]


def test_an_empty_project_says_what_to_do(signed_in):
    text = signed_in().get(VMS).text
    assert "No virtual machines yet" in text
    assert "cumulet vm create hello --project default" in text


def test_long_lists_come_in_pages_that_take_little_on_the_way(signed_in, cloud):
    browser = signed_in()
    for number in range(PAGE_SIZE + 5):
        cloud.create(vm_id=f"vm-{number:03}", memory_gib=1, vcpus=1, metadata={"team": "web"})
    page = browser.get(VMS)
    assert len(rows(browser)) == PAGE_SIZE
    assert rows(browser, "?page=2") == [f"vm-{PAGE_SIZE + number:03}" for number in range(5)]
    assert len(gzip.compress(page.content)) <= 30_000


@pytest.mark.parametrize("word", ["hello", "TEAM=web", "team", "198.", "micro"])
def test_words_mean_parts_of_what_a_vm_has(cloud, word):
    cloud.running(metadata={"team": "web"})
    vm = cloud.call(operations.list_vms, project_id=PROJECT).vms[0]
    facts = {name: getattr(vm, name) for name in ListedVm.__struct_fields__}
    assert fits(ListedVm(**facts), word)
    assert not fits(ListedVm(**facts), f"{word} nothing")
