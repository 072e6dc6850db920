"""Disks on pages: made, attached, enlarged, kept in snapshots and deleted; each says why it cannot be now."""

import html
import re

import pytest
from tests.web.conftest import hidden_fields

from cumulet.disks.operations import get_disk, list_disks
from cumulet.projects import Role
from cumulet.vms import operations
from cumulet.web.paging import PAGE_SIZE

DISKS = "/p/default/disks"
DATA = f"{DISKS}/data"
BOOT = f"{DISKS}/hello-boot"
NEW = "/p/default/new-disk"


def rows(browser, query=""):
    return re.findall(r'<tr id="disk-([^"]+)"', browser.get(f"{DISKS}{query}").text)


def snapshots(cloud, id="hello-boot"):
    return [one.id for one in cloud.ask(get_disk, id).snapshots]


def stopped(cloud):
    cloud.ask(operations.stop_vm)
    cloud.settle()


def test_an_empty_project_says_what_to_do(signed_in):
    text = signed_in().get(DISKS).text
    assert "No disks yet" in text
    assert "cumulet disk create data 10GiB --project default" in text


def test_the_list_is_narrowed_by_names_and_by_kinds(signed_in, cloud):
    cloud.running()
    cloud.attached()
    cloud.create_disk("spare")
    browser = signed_in()
    assert rows(browser) == ["data", "hello-boot", "spare"]
    assert rows(browser, "?q=hello") == ["data", "hello-boot"]
    assert rows(browser, "?kind=boot") == ["hello-boot"]
    assert rows(browser, "?kind=storage") == ["data", "spare"]
    assert rows(browser, "?kind=free&q=sp") == ["spare"]
    assert "None of them fits" in browser.get(f"{DISKS}?q=none").text


def test_long_lists_come_in_pages(signed_in, cloud):
    for number in range(PAGE_SIZE + 2):
        cloud.create_disk(f"disk-{number:03}", 1)
    browser = signed_in()
    assert len(rows(browser)) == PAGE_SIZE
    assert rows(browser, "?page=2") == [f"disk-{PAGE_SIZE + number:03}" for number in range(2)]


def test_one_is_created_and_what_is_wrong_stands_beside_its_field(signed_in, cloud):
    browser = signed_in()
    wrong = browser.send(NEW, on=NEW, id="data", sizeGib="0")
    beside = html.unescape(wrong.text).partition('<input id="sizeGib"')[2].partition("</div>\n</div>")[0]
    assert (wrong.status_code, 'value="0"' in beside, "expected 1 to" in beside) == (400, True, True)
    made = browser.send(NEW, on=NEW, id="data", sizeGib="20", deletionProtection="yes")
    assert made.headers["location"] == DATA
    assert (cloud.disk().size_gib, cloud.disk().deletion_protection) == (20, True)


def test_it_is_attached_enlarged_and_detached(signed_in, cloud):
    cloud.running()
    cloud.create_disk()
    browser = signed_in()
    assert browser.send(f"{DATA}/attach", on=DATA, vmId="hello").headers["location"] == DATA
    cloud.settle()
    assert cloud.disk().vm_id == "hello"
    assert browser.send(f"{DATA}/size", on=DATA, sizeGib="30").status_code == 303
    cloud.settle()
    assert cloud.disk().size_gib == 30
    refused = browser.send(f"{DATA}/size", on=DATA, sizeGib="5")
    assert (refused.status_code, 'value="5"' in refused.text) == (400, True)
    assert "hello has it: detach it first" in browser.get(f"{DATA}/delete").text
    assert browser.send(f"{DATA}/detach", on=DATA).status_code == 303
    cloud.settle()
    assert cloud.disk().vm_id == ""


def test_a_vm_that_cannot_have_it_is_refused_on_the_page(signed_in, cloud):
    cloud.create_disk()
    cloud.running()
    browser = signed_in()
    assert browser.send(f"{DATA}/attach", on=DATA, vmId="none-such").status_code == 404
    cloud.attached("other")
    refused = browser.send(f"{DISKS}/other/attach", on=DATA, vmId="hello")
    assert (refused.status_code, "it is attached to a VM" in refused.text) == (400, True)


def test_a_boot_disk_goes_with_its_vm_and_says_so(signed_in, cloud):
    cloud.running()
    browser = signed_in()
    text = browser.get(BOOT).text
    assert "/delete" not in text.partition('id="head"')[2].partition("</div><!--/part-->")[0]
    assert "/detach" not in text
    assert "it goes with its VM" in browser.get(f"{BOOT}/delete").text


def test_deleting_says_first_what_goes_and_one_that_is_protected_needs_its_name(signed_in, cloud):
    cloud.create_disk(deletion_protection=True)
    browser = signed_in()
    page = f"{DATA}/delete"
    assert "with all that is on it" in browser.get(page).text.partition("What stays")[0]
    refused = browser.send(page, on=page, name="dat")
    assert (refused.status_code, 'value="dat"' in refused.text) == (400, True)
    assert browser.send(page, on=page, name="data").headers["location"] == DISKS
    cloud.settle()
    assert cloud.call(list_disks, project_id="default").disks == []


def test_protection_is_set_and_lifted(signed_in, cloud):
    cloud.create_disk()
    browser = signed_in()
    for value, is_set in (("yes", True), ("no", False)):
        assert browser.send(f"{DATA}/protection", on=DATA, deletionProtection=value).status_code == 303
        assert cloud.disk().deletion_protection is is_set


@pytest.mark.parametrize("page", [BOOT, "/p/default/vms/hello/disks"])
def test_snapshots_are_taken_on_both_pages_while_the_vm_is_off(signed_in, cloud, page):
    cloud.running()
    browser = signed_in()
    assert "must be off" in browser.get(page).text
    stopped(cloud)
    headers = browser.headers({"origin": browser.origin, "referer": browser.origin + page})
    fields = hidden_fields(browser.get(page).text) | {"snapshotId": "kept"}
    answer = browser.client.post(f"{BOOT}/snapshots", data=fields, headers=headers)
    assert (answer.status_code, answer.headers.get("location")) == (303, page), answer.text
    cloud.settle()
    assert snapshots(cloud) == ["kept"]
    assert f'href="{BOOT}/snapshots/kept/revert"' in browser.get(page).text


def test_going_back_to_a_snapshot_and_deleting_it_say_first_what_is_lost(signed_in, cloud):
    cloud.running()
    stopped(cloud)
    browser = signed_in()
    browser.send(f"{BOOT}/snapshots", on=BOOT, snapshotId="kept")
    cloud.settle()
    for verb, words in (("revert", "All that was written"), ("delete", "nobody can go back to it")):
        page = f"{BOOT}/snapshots/kept/{verb}"
        assert words in browser.get(page).text.partition("What stays")[0]
        assert browser.send(page, on=page).headers["location"] == BOOT
        cloud.settle()
    assert snapshots(cloud) == []
    assert browser.get(f"{BOOT}/snapshots/kept/revert").status_code == 404


@pytest.mark.parametrize("page", [DISKS, DATA, f"{DATA}/delete", BOOT])
def test_a_viewer_sees_the_pages_and_no_changing_button(signed_in, cloud, page):
    cloud.running()
    cloud.create_disk()
    browser = signed_in(Role.VIEWER)
    text = browser.get(page).text
    assert "GiB" in text
    assert not re.search(r'<button class="button( main| danger| )?"', text)
    assert "Create disk" not in text
    assert browser.send(f"{DATA}/detach", on="/p/default/vms").status_code == 403


def test_those_of_another_project_are_not_there(signed_in):
    browser = signed_in()
    for page in ("disks", "disks/data", "new-disk"):
        assert browser.get(f"/p/theirs/{page}").status_code == 404
