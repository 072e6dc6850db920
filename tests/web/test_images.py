"""Images on pages: taken of VMs, described, booted from and deleted; and the public ones."""

import html
import re

import pytest
from tests.projects.people import add_user

from cumulet.permission import CloudRole
from cumulet.private_images.create import create_private_vm_image
from cumulet.private_images.operations import get_private_vm_image
from cumulet.projects import Role

IMAGES = "/p/default/images"
GOLDEN = f"{IMAGES}/golden"
NEW = "/p/default/new-image"


@pytest.fixture
def golden(cloud):
    cloud.running()
    cloud.call(create_private_vm_image, project_id="default", vm_id="hello", id="golden")
    cloud.settle()


def image(cloud):
    return cloud.call(get_private_vm_image, project_id="default", id="golden").image


def test_a_project_without_images_says_what_to_do_and_shows_the_public_ones(signed_in):
    browser = signed_in()
    text = browser.get(IMAGES).text
    assert "cumulet private-image create hello golden --project default" in text
    assert 'href="/p/default/new-vm?bootDiskImageId=micro"' in text
    assert "There is no VM to take one of" in browser.get(NEW).text


def test_one_is_taken_of_a_vm_and_shows_how_far_that_is(signed_in, cloud):
    cloud.running()
    browser = signed_in()
    wrong = browser.send(NEW, on=NEW, vmId="hello", id="Not An Id", description="Web")
    beside = html.unescape(wrong.text).partition('<input id="id"')[2].partition("</div>\n</div>")[0]
    assert (wrong.status_code, 'value="Not An Id"' in beside, "expected" in beside) == (400, True, True)
    made = browser.send(NEW, on=NEW, vmId="hello", id="golden", description="Web")
    assert made.headers["location"] == GOLDEN
    assert "Being taken" in browser.get(GOLDEN).text
    cloud.settle()
    text = browser.get(GOLDEN).text
    assert "Ready" in text
    assert "held its file systems still" in text or "its VM ran" in text
    assert 'href="/p/default/new-vm?bootDiskImageId=golden"' in text
    assert image(cloud).description == "Web"


def test_the_form_for_a_vm_begins_with_the_image_that_led_there(signed_in, golden):
    text = signed_in().get("/p/default/new-vm?bootDiskImageId=golden").text
    assert re.search(r'name="bootDiskImageId" value="golden" checked', text)


def test_its_description_is_changed(signed_in, cloud, golden):
    browser = signed_in()
    assert browser.send(f"{GOLDEN}/description", on=GOLDEN, description="Old").status_code == 303
    assert image(cloud).description == "Old"
    refused = browser.send(f"{GOLDEN}/description", on=GOLDEN, description="x" * 1001)
    assert (refused.status_code, 'aria-invalid="true"' in refused.text) == (400, True)


def test_deleting_says_first_what_is_based_on_it(signed_in, cloud, golden):
    cloud.running(vm_id="copy", boot_disk_image_id="golden")
    browser = signed_in()
    text = browser.get(f"{GOLDEN}/delete").text
    assert "copy-boot" in text.partition("What stays")[2]
    assert "boot disks are based on it: delete their VMs first" in text
    refused = browser.send(f"{GOLDEN}/delete", on=f"{GOLDEN}/delete")
    assert (refused.status_code, "terminate their VMs first" in refused.text) == (400, True)


def test_one_that_nothing_is_based_on_goes(signed_in, cloud, golden):
    browser = signed_in()
    assert browser.send(f"{GOLDEN}/delete", on=f"{GOLDEN}/delete").headers["location"] == IMAGES
    cloud.settle()
    assert browser.get(GOLDEN).status_code == 404


@pytest.mark.parametrize("page", [IMAGES, GOLDEN, f"{GOLDEN}/delete"])
def test_a_viewer_sees_the_pages_and_no_changing_button(signed_in, golden, page):
    browser = signed_in(Role.VIEWER)
    text = browser.get(page).text
    assert "golden" in text
    assert "Create VM" not in text
    assert "Take an image" not in text
    assert not re.search(r'<button class="button( main| danger| )?"', text)
    assert browser.send(f"{GOLDEN}/delete", on="/p/default/vms").status_code == 403


def test_those_of_another_project_are_not_there(signed_in):
    browser = signed_in()
    for page in ("images", "images/golden", "new-image"):
        assert browser.get(f"/p/theirs/{page}").status_code == 404


def test_auditors_see_on_which_hosts_copies_lie_and_owners_of_images_do_not(signed_in, cloud, golden):
    cloud.running(vm_id="copy", boot_disk_image_id="golden")
    cloud.sweep()
    host = cloud.host.facts().name
    with cloud.database.writing() as db:
        add_user(db, "audrey", CloudRole.AUDITOR)
    pages = (GOLDEN, "/catalogue")
    owner = signed_in(Role.OWNER)
    assert not [page for page in pages if f"/hosts/{host}" in owner.get(page).text]
    auditor = signed_in(Role.VIEWER, "vera")
    auditor.sign_in("audrey")
    assert [page for page in pages if f'<a href="/hosts/{host}">{host}</a>' in auditor.get(page).text] == [
        *pages
    ]
