"""Lists of a project's things in pages, on both kinds of database, through the verbs that give them."""

import pytest
from tests.made_up import PROJECT
from tests.projects.people import ed25519_line

from cumulet.disks import operations as disk_operations
from cumulet.errors import Invalid
from cumulet.projects import key_operations
from cumulet.projects.wire import CreateSshKey
from cumulet.vm_record import Vm
from cumulet.vms import operations

NAMES = ["a", "b", "c", "d", "e"]


def walk(cloud, verb, rows, between=lambda: None, **arguments):
    """Read a list in pages of two."""
    told, token = [], ""
    while True:
        answer = cloud.call(verb, project_id=PROJECT, page_size=2, page_token=token, **arguments)
        found = getattr(answer, rows)
        assert len(found) <= 2
        told += found
        if not (token := answer.page_token):
            return told
        between()


@pytest.fixture
def vms(cloud):
    for name in NAMES:
        cloud.create(vm_id=name, memory_gib=1, vcpus=1, metadata={"team": "blue" if name in "ace" else "red"})
    return cloud


def ids(found):
    return [one.id for one in found]


def test_vms_come_in_pages_and_without_a_size_all_at_once(vms):
    assert ids(walk(vms, operations.list_vms, "vms")) == NAMES
    whole = vms.call(operations.list_vms, project_id=PROJECT)
    assert (ids(whole.vms), whole.page_token) == (NAMES, "")


def test_a_page_of_vms_tells_as_much_of_each_as_the_whole_list(vms):
    assert walk(vms, operations.list_vms, "vms") == vms.call(operations.list_vms, project_id=PROJECT).vms


def test_pages_of_vms_are_of_those_that_a_filter_leaves(vms):
    assert ids(walk(vms, operations.list_vms, "vms", metadata=["team=blue"])) == ["a", "c", "e"]
    assert ids(walk(vms, operations.list_vms, "vms", network_id="none")) == []


def test_vms_that_go_and_come_between_two_pages_skip_nothing_and_repeat_nothing(vms):
    def change():
        vms.ask(operations.terminate_vm, "b")
        if vms.count(Vm) == len(NAMES):
            vms.create(vm_id="aa", memory_gib=1, vcpus=1)

    assert ids(walk(vms, operations.list_vms, "vms", change)) == NAMES
    vms.settle()
    assert ids(walk(vms, operations.list_vms, "vms")) == ["a", "aa", "c", "d", "e"]


def test_disks_and_facts_come_in_pages(vms):
    assert ids(walk(vms, disk_operations.list_disks, "disks")) == [f"{name}-boot" for name in NAMES]
    vms.settle()
    vms.ask(operations.reboot_vm, "a")
    facts = vms.ask(operations.get_vm_timeline, "a").entries
    assert len(facts) > 2
    assert walk(vms, operations.get_vm_timeline, "entries", id="a") == facts


def test_keys_that_were_added_at_one_instant_come_in_pages(cloud):
    for number in range(5):
        data = CreateSshKey(ed25519_line(number))
        cloud.call(key_operations.create_ssh_key, data=data)
    whole = cloud.call(key_operations.list_project_ssh_keys, project_id=PROJECT).ssh_keys
    assert walk(cloud, key_operations.list_project_ssh_keys, "ssh_keys") == whole
    assert len(whole) == 5


def test_a_token_of_another_list_is_refused(vms):
    token = vms.call(operations.list_vms, project_id=PROJECT, page_size=1).page_token
    with pytest.raises(Invalid, match="pageToken"):
        vms.call(key_operations.list_ssh_keys, page_token=token)
