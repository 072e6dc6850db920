"""Copies of images that the store has no more: they go from a host that has one to where a VM needs it."""

import pytest
from tests.made_up import IMAGE, make_cloud, store_image
from tests.vms.moving import host_of, move, names, other_of, stopped

from cumulet.fleet import operations as fleet
from cumulet.fleet.wire import AskOfHost
from cumulet.vm_record.wire import VmState


@pytest.fixture
def cloud(database, tmp_path):
    return make_cloud(database, tmp_path, hypervisor="memory:?hosts=2")


def build_anew(cloud):
    store_image(cloud.images, content=b"another disk")


@pytest.mark.parametrize(
    "changed", [build_anew, lambda cloud: cloud.images.remove(IMAGE)], ids=["anew", "gone"]
)
def test_a_vm_whose_image_was_built_anew_or_removed_moves_with_the_copy_that_it_has(cloud, changed):
    stopped(cloud)
    there, sha256 = other_of(cloud), cloud.row().image_sha256
    changed(cloud)
    assert sha256 not in there.images.copies()
    move(cloud)
    cloud.settle()
    assert (host_of(cloud), cloud.vm().state) == (there, VmState.STOPPED)
    assert sha256 in there.images.copies()


def test_one_that_runs_does_so_while_it_runs(cloud):
    cloud.running()
    there, started = other_of(cloud), cloud.row().started
    build_anew(cloud)
    move(cloud)
    cloud.settle()
    assert (host_of(cloud), cloud.vm().state, cloud.row().started) == (there, VmState.ACTIVE, started)


def wait_on_the_other_host(cloud):
    """A VM of the image that is to be on the other host and has not begun; and the image is built anew."""
    cloud.running(vm_id="first")
    cloud.sweep()
    first = cloud.hosts[cloud.row("first").host_id]
    cloud.call(fleet.cordon_host, id=names(cloud)[cloud.row("first").host_id], data=AskOfHost())
    cloud.create()
    build_anew(cloud)
    return first


def test_a_new_vm_gets_its_disk_of_a_copy_on_another_host_when_its_image_is_built_anew_meanwhile(cloud):
    first = wait_on_the_other_host(cloud)
    cloud.settle()
    assert (cloud.vm().state, host_of(cloud) is first) == (VmState.ACTIVE, False)
    assert cloud.row().image_sha256 in host_of(cloud).images.copies()


def test_without_a_host_that_answers_and_has_it_that_is_told(cloud):
    wait_on_the_other_host(cloud).unreachable = True
    cloud.pass_time(5)
    assert "no host that answers has it: create the VM again" in cloud.vm().problem
    for host in cloud.hosts.values():
        host.unreachable = False
    cloud.pass_time(60)
    assert cloud.vm().state is VmState.ACTIVE


def test_what_comes_and_is_not_that_image_is_no_copy_and_is_told(cloud, monkeypatch):
    first = wait_on_the_other_host(cloud)
    other = store_image(cloud.images, "other", content=b"a third disk")
    first.images.copy(other)
    send = first.images.send_copy
    monkeypatch.setattr(first.images, "send_copy", lambda _: send(other.sha256))
    cloud.pass_time(5)
    assert cloud.row().image_sha256 not in host_of(cloud).images.copies()
    assert cloud.vm().state is not VmState.ACTIVE
    monkeypatch.setattr(first.images, "send_copy", send)
    cloud.pass_time(60)
    assert cloud.vm().state is VmState.ACTIVE
