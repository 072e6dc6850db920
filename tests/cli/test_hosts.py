"""`cumulet host`, against a server of made-up hosts."""

import re

import pytest
from tests.cli.conftest import own_settings, serving
from tests.waiting import eventually

from cumulet.cli.hosts import bar


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    settings = own_settings(tmp_path_factory.mktemp("hosts"))
    settings["CUMULET_HYPERVISOR"] = "memory:?hosts=3&vcpus=16&memory_gib=64&disk_gib=100"
    with serving(settings):
        yield settings


@pytest.mark.parametrize(
    ("used", "total", "drawn"),
    [
        (0, 16, "░░░░░░ 0/16"),
        (0.25, 16, "█░░░░░ 0.25/16"),
        (8, 16, "███░░░ 8/16"),
        (130.5, 100, "██████ 130/100"),
    ],
)
def test_a_bar_shows_how_much_is_reserved(used, total, drawn):
    assert bar(used, total) == drawn


def test_hosts_are_listed_with_their_states_and_bars(cumulet):
    heading, first, *_ = cumulet("host", "list").out.splitlines()
    assert re.split("  +", heading)[:3] == ["NAME", "STATE", "SINCE"]
    name, state, _since, cores, memory, disk, vms = re.split("  +", first)
    assert (name, state, cores, memory, vms) == ("memory-1", "UP", "░░░░░░ 0/16", "░░░░░░ 0/64", "0")
    assert disk == "░░░░░░ 0/100"
    assert cumulet("host", "list", "-o", "name").out.split() == ["memory-1", "memory-2", "memory-3"]


def test_one_is_shown_with_all_that_is_known_of_it(cumulet):
    shown = cumulet("host", "get", "memory-1").out
    assert re.search(r"^state +UP since ", shown, re.MULTILINE)
    assert cumulet("host", "get", "nowhere").code == 3


def test_labels_are_given_and_taken_away_one_by_one(cumulet):
    assert "rack=3 ssd=" in cumulet("host", "label", "memory-1", "rack=3", "ssd=").out
    assert "rack=4" in cumulet("host", "label", "memory-1", "rack=4", "ssd-").out
    assert cumulet("host", "get", "memory-1", "-o", "json").json["labels"] == {"rack": "4"}
    refused = cumulet("host", "label", "memory-1", "rack")
    assert (refused.code, "expected KEY=VALUE, or KEY-" in refused.err) == (2, True)


def test_a_vm_that_runs_is_moved_and_how_long_it_stood_still_is_said(cumulet):
    assert cumulet("vm", "create", "mover", "--image", "micro", "--wait").code == 0
    moved = cumulet("vm", "move", "mover", "--wait")
    assert moved.code == 0, moved.err
    assert re.fullmatch(
        r"mover moved to another host while it ran; it stood still for \d+\.\d\d s\n", moved.out
    )
    assert "mover is not on its way any more" in moved.err
    cumulet("vm", "delete", "mover", "--wait")


def test_several_are_cordoned_drained_and_had_again(cumulet):
    assert cumulet("host", "cordon", "memory-1", "memory-2", "--reason", "new fans").code == 0
    assert cumulet("host", "drain", "memory-2", "--reason", "new fans").code == 0
    eventually(lambda: states(cumulet)[:2] == ["CORDONED", "MAINTENANCE"])
    assert "new fans" in cumulet("host", "list").out
    assert cumulet("host", "uncordon", "memory-1", "memory-2").code == 0
    assert states(cumulet) == ["UP"] * 3


def states(cumulet):
    return [host["state"] for host in cumulet("host", "list", "-o", "json").json]


def test_a_host_is_given_up_only_by_who_says_that_it_is_off(cumulet):
    unsure = cumulet("host", "lost", "memory-1")
    assert (unsure.code, "cumulet host lost memory-1 --confirm" in unsure.err) == (1, True)
    answers = cumulet("host", "lost", "memory-1", "--confirm")
    assert (answers.code, "only one that is SILENT" in answers.err) == (1, True)


def test_a_host_with_nothing_on_it_is_removed(cumulet):
    assert cumulet("host", "remove", "memory-3").code == 0
    assert len(states(cumulet)) == 2


def test_hosts_that_are_to_have_ovns_databases_say_that_they_are_being_brought_there(cumulet):
    assert cumulet("host", "central", "memory-1").code == 0
    assert re.search(
        r"^OVN's databases +being brought there$", cumulet("host", "get", "memory-1").out, re.MULTILINE
    )
    refused = cumulet("host", "central", "memory-1", "memory-2")
    assert (refused.code, "one host, or three" in refused.err) == (2, True)


def test_the_key_that_hosts_must_let_in_is_a_line_of_authorized_keys(cumulet):
    printed = cumulet("host", "key").out
    assert printed == cumulet("host", "key").out
    kind, _key, comment = printed.split()
    assert kind == "ssh-ed25519"
    assert comment.startswith("cumulet@")
    assert printed.endswith("\n")


def test_a_machine_that_does_not_answer_stays_adding_and_says_why(cumulet):
    cumulet("host", "add", "root@localhost:1", "--label", "rack=3", "--background")
    try:
        eventually(lambda: "no SSH answers at localhost port 1" in cumulet("host", "get", "localhost").out)
        waited = cumulet("host", "add", "root@localhost:1", "--timeout", "1s")
        assert waited.code == 5
        assert "no SSH answers at localhost port 1" in waited.err
        assert "ADDING" in cumulet("host", "list").out
    finally:
        cumulet("host", "remove", "localhost")
