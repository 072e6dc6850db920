import re

import pytest
from tests.words import PROTECTED


def vm(cumulet, name, *words):
    assert cumulet("vm", "create", name, "--image", "micro", "--wait", *words).code == 0


def disk(cumulet, name):
    return cumulet("disk", "get", name, "-o", "json").json


def test_a_disk_goes_through_its_life(cumulet):
    vm(cumulet, "holder")
    assert "vault is ready after" in cumulet("disk", "create", "vault", "--size", "3", "--wait").err
    assert "vault is in holder after" in cumulet("disk", "attach", "vault", "holder", "--wait").err
    assert "vault has 5 GiB after" in cumulet("disk", "resize", "vault", "5", "--wait").err
    assert (disk(cumulet, "vault")["vmId"], disk(cumulet, "vault")["sizeGib"]) == ("holder", 5)
    assert "vault is free after" in cumulet("disk", "detach", "vault", "--wait").err
    assert "vault is deleted after" in cumulet("disk", "delete", "vault", "--wait").err
    assert cumulet("disk", "get", "vault").code == 3


def test_a_vm_is_created_with_a_disk_and_leaves_it_behind(cumulet):
    cumulet("disk", "create", "kept", "2", "--wait")
    vm(cumulet, "brief", "--storage-disk", "kept")
    assert re.search(r"^storage disks +kept \(2 GiB\)$", cumulet("vm", "get", "brief").out, re.MULTILINE)
    cumulet("vm", "delete", "brief", "--wait")
    assert disk(cumulet, "kept")["diskState"] == "DISK_STATE_READY"


def test_a_disk_goes_back_to_a_snapshot(cumulet):
    cumulet("disk", "create", "memory", "2", "--wait")
    vm(cumulet, "writer", "--storage-disk", "memory")
    cumulet("vm", "delete", "writer", "--wait")
    assert "has its snapshot one" in cumulet("disk", "snapshot", "create", "memory", "one", "--wait").err
    assert "was reverted to one" in cumulet("disk", "snapshot", "revert", "memory", "one", "--wait").err
    assert cumulet("disk", "snapshot", "list", "memory", "-o", "name").out == "one\n"
    heading, line = cumulet("disk", "snapshot", "list", "memory").out.splitlines()
    assert heading.split() == ["NAME", "SIZE", "ACTIVE", "TAKEN"]
    assert line.split()[:4] == ["one", "2", "GiB", "yes"]
    assert "has no snapshot one" in cumulet("disk", "snapshot", "delete", "memory", "one", "--wait").err
    assert cumulet("disk", "snapshot", "list", "memory", "-o", "json").json == []


def test_disks_are_listed_and_shown_to_people(cumulet):
    cumulet("disk", "create", "shown", "2", "--storage-class", "network", "--wait")
    lines = [line.split() for line in cumulet("disk", "list").out.splitlines()]
    assert lines[0] == ["NAME", "STATE", "SIZE", "TYPE", "CLASS", "VM", "NOW"]
    assert ["shown", "READY", "2", "GiB", "storage", "network"] in lines
    serial = disk(cumulet, "shown")["serial"]
    told = cumulet("disk", "get", "shown").out
    assert re.search(rf"^in its guest +/dev/disk/by-id/virtio-{serial}$", told, re.MULTILINE)
    assert re.search(r"^storage class +network$", told, re.MULTILINE)
    assert "problem" not in told


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["disk", "get", "nothing"], 3, "there is no disk 'nothing'"),
        (["disk", "create", "Big", "1"], 2, "id: 'Big' is not accepted"),
        (["disk", "create", "none", "0"], 2, "sizeGib: 0 is not accepted"),
        (["disk", "create", "huge", "60000"], 4, "no host has capacity for this disk"),
        (["disk", "create", "odd", "1", "--storage-class", "tape"], 2, "local"),
        (["disk", "attach", "nothing", "nobody"], 3, "there is no VM 'nobody'"),
        (["disk", "detach", "nothing"], 3, "there is no disk 'nothing'"),
        (["disk", "snapshot", "revert", "nothing", "one"], 3, "there is no disk 'nothing'"),
    ],
)
def test_a_refusal_has_words_and_an_exit_code(cumulet, words, code, said):
    done = cumulet(*words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_a_disk_in_no_vm_is_asked_to_be_attached_before_it_grows(cumulet):
    cumulet("disk", "create", "loose", "1", "--wait")
    done = cumulet("disk", "resize", "loose", "2")
    assert (done.code, "attach it, then resize it" in done.err) == (2, True)


def test_a_protected_disk_is_kept_until_that_is_lifted(cumulet):
    assert "protected" in cumulet("disk", "create", "precious", "1", "--protect").out
    assert PROTECTED in cumulet("disk", "delete", "precious").err
    assert cumulet("disk", "unprotect", "precious").code == 0
    assert cumulet("disk", "protect", "precious").code == 0
    assert cumulet("disk", "unprotect", "precious").code == 0
    assert cumulet("disk", "delete", "precious").code == 0
