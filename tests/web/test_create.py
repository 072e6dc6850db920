"""Creating on one page: the price, the room, the same for programs; what is wrong stands beside its field."""

import html
import shlex

import pytest

from cumulet.__main__ import app
from cumulet.projects import Role
from cumulet.vms.operations import list_vms

NEW = "/p/default/new-vm"
RIGHT = {"vmId": "web", "bootDiskImageId": "micro", "vcpus": "2", "memoryGib": "4", "bootDiskSizeGib": "10"}


def test_the_page_needs_no_script_to_create_a_vm(signed_in, cloud):
    answer = signed_in().send(NEW, on=NEW, **RIGHT, metadata="team=web", deletionProtection="yes")
    assert (answer.status_code, answer.headers["location"]) == (303, "/p/default/vms/web")
    cloud.settle()
    vm = cloud.vm("web")
    assert (vm.vcpus, vm.memory, vm.metadata, vm.deletion_protection) == (2, 4, {"team": "web"}, True)


def test_sent_twice_it_makes_one(signed_in, cloud):
    browser = signed_in()
    for _ in range(2):
        assert browser.send(NEW, on=NEW, **RIGHT, request="once").status_code == 303
    assert len(cloud.call(list_vms, project_id="default").vms) == 1


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("vcpus", "many", "integer"), ("memoryGib", "0", "expected"), ("vmId", "Not An Id", "expected")],
)
def test_what_is_wrong_stands_beside_its_field_with_the_input_kept(signed_in, field, value, words):
    answer = signed_in().send(NEW, on=NEW, **RIGHT | {field: value})
    assert answer.status_code == 400
    text = html.unescape(answer.text)
    beside = text.partition(f'<input id="{field}"')[2].partition("</div>\n</div>")[0]
    assert 'aria-invalid="true"' in beside.partition(">")[0]
    assert f'value="{value}"' in beside
    assert words in beside
    assert 'id="vcpus" name="vcpus" type="number" value="2"' in text or field == "vcpus"


def test_a_secret_is_never_written_into_a_page(signed_in):
    answer = signed_in().send(NEW, on=NEW, **RIGHT | {"vmId": "No"}, password="aB1!-hunter2")
    assert answer.status_code == 400
    assert "hunter2" not in answer.text


def test_price_and_room_are_said_before_anything_is_made(signed_in, cloud):
    browser = signed_in()
    text = browser.send(f"{NEW}/quote", on=NEW, **RIGHT).text
    assert "There is room for it" in text
    created = cloud.create(vcpus=2, memory_gib=4, boot_disk_size_gib=10)
    total = float(created.price.total_price_hr.value)
    assert f"{total:.4f}" in text
    too_much = browser.send(f"{NEW}/quote", on=NEW, **RIGHT | {"vcpus": "900", "memoryGib": "900"}).text
    assert "It cannot be had so" in too_much
    assert [one.id for one in cloud.call(list_vms, project_id="default").vms] == ["hello"]


def test_a_form_that_is_not_finished_is_no_news_in_the_audit(signed_in, cloud):
    browser = signed_in()
    browser.send(f"{NEW}/quote", on=NEW, **RIGHT | {"vcpus": "900"})
    listed = browser.client.get("/v1/audit?project=default", headers={"authorization": "Bearer ann"})
    assert "create_vm" not in listed.text


def test_the_command_that_is_shown_is_one(signed_in):
    text = html.unescape(signed_in().send(f"{NEW}/quote", on=NEW, **RIGHT, metadata="a=b").text)
    command = text.partition("cumulet vm create")[2].partition("</span>")[0]
    app.parse_args(
        ["vm", "create", *shlex.split(command.replace("\\\n", ""))], exit_on_error=False, print_error=False
    )


def test_a_viewer_is_refused(signed_in, cloud):
    browser = signed_in(Role.VIEWER)
    assert browser.send(NEW, on="/p/default/vms", **RIGHT).status_code == 403
    assert cloud.call(list_vms, project_id="default").vms == []
