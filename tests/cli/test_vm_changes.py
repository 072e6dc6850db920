import re
import time

import pytest
from tests.waiting import eventually
from tests.words import ONE_REQUIRED, PROTECTED

from cumulet.cli.output import size
from cumulet.cli.vm_monitor import bars, drawing, spread
from cumulet.cli.vm_views import FACTS

PASSWORD = "Corr3ct-horse"


@pytest.fixture
def vm(cumulet, request):
    """The name of a VM of this test that runs."""
    name = re.sub(r"[^a-z]+", "-", request.node.name.lower())[-40:].strip("-")
    assert cumulet("vm", "create", name, "--image", "micro", "--wait").code == 0
    yield name
    cumulet("vm", "delete", name)


def story(cumulet, vm):
    return cumulet("vm", "timeline", vm, "-o", "name").out.split()


def test_a_stopped_vm_is_resized(cumulet, vm):
    refused = cumulet("vm", "resize", vm, "--vcpus", "2")
    assert "must be STOPPED; with --restart it is stopped" in refused.err
    assert (refused.code, cumulet("vm", "resize", vm).code) == (1, 2)
    cumulet("vm", "stop", vm, "--wait")
    assert "2 vCPUs, 3 GiB memory" in cumulet("vm", "resize", vm, "--vcpus", "2", "--memory", "3").out
    assert cumulet("vm", "resize", vm, "--memory", "4", "-o", "json").json["vcpus"] == 2
    done = cumulet("vm", "resize", vm, "--vcpus", "2", "--memory", "64")
    assert (done.code, "nearest size" in done.err) == (4, True)


def test_a_running_vm_is_resized_by_a_restart(cumulet, vm):
    done = cumulet("vm", "resize", vm, "--vcpus", "2", "--memory", "3GiB", "--restart", "--wait")
    assert "2 vCPUs, 3 GiB memory" in done.out
    assert f"{vm} is running after" in done.err
    assert story(cumulet, vm)[-6:].count("vm.started") == 1


def test_a_running_vm_is_not_stopped_for_a_size_that_does_not_fit(cumulet, vm):
    for words in (("--memory", "64"), ("--vcpus", "2", "--disk", "60000")):
        assert cumulet("vm", "resize", vm, *words, "--restart").code == 4
    assert not {"vm.stop_requested", "vm.resize_requested"} & set(story(cumulet, vm))
    assert cumulet("vm", "get", vm, "-o", "json").json["state"] == "ACTIVE"


def test_a_boot_disk_grows_while_its_vm_runs(cumulet, vm):
    done = cumulet("vm", "resize", vm, "--disk", "20G", "--wait")
    assert "20 GiB disk" in done.out
    assert f"{vm}-boot has 20 GiB after" in done.err


def test_a_size_that_holds_a_smaller_disk_is_refused_as_a_whole(cumulet, vm):
    cumulet("vm", "stop", vm, "--wait")
    refused = cumulet("vm", "resize", vm, "--memory", "2", "--disk", "9")
    assert (refused.code, "--disk: '9 GiB' is not accepted; expected at least 10 GiB" in refused.err) == (
        2,
        True,
    )
    assert cumulet("vm", "get", vm, "-o", "json").json["memory"] == 1


def test_labels_are_removed(cumulet, vm):
    cumulet("vm", "metadata", vm, "team=blue", "stage=test", "owner=ann")
    words = ("--remove", "team", "--remove", "owner", "--remove", "nothing", "kind=web", "-o", "json")
    assert cumulet("vm", "metadata", vm, *words).json == {"stage": "test", "kind": "web"}


def test_labels_are_added_replaced_and_shown(cumulet, vm):
    assert cumulet("vm", "metadata", vm).out == ""
    assert cumulet("vm", "metadata", vm, "team=blue", "stage=test").out == "team   blue\nstage  test\n"
    assert cumulet("vm", "metadata", vm, "stage=live", "-o", "json").json == {"team": "blue", "stage": "live"}
    assert cumulet("vm", "metadata", vm, "owner=ann", "--replace", "-o", "name").out == "owner\n"
    assert cumulet("vm", "metadata", vm, "blue").code == 2


def test_an_end_is_set_and_told(cumulet, vm):
    assert re.fullmatch(
        rf"{vm} will be deleted at 20\d\d-.*\n", cumulet("vm", "expire", vm, "--ttl", "2h").out
    )
    assert (
        cumulet("vm", "expire", vm, "--at", "2040-01-02").out
        == f"{vm} will be deleted at 2040-01-02 00:00:00\n"
    )
    assert ONE_REQUIRED in cumulet("vm", "expire", vm).err


def test_a_password_is_set_from_stdin_or_a_file_and_never_shown(cumulet, vm, tmp_path):
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    for words, stdin in ((["--password-stdin"], f"{PASSWORD}\n"), (["--password-file", str(file)], "")):
        done = cumulet("vm", "password", vm, *words, stdin=stdin)
        assert (done.code, done.out, done.err) == (0, "", "")
    eventually(lambda: "vm.password_set" in story(cumulet, vm))
    weak = cumulet("vm", "password", vm, "--password-stdin", stdin="hunter2\n")
    assert weak.code == 2
    assert "hunter2" not in weak.err
    assert ONE_REQUIRED in cumulet("vm", "password", vm).err


def test_keys_are_changed(cumulet, vm, public_key):
    assert cumulet("vm", "authorize", vm).code == 0
    eventually(lambda: "vm.keys_set" in story(cumulet, vm))
    assert cumulet("vm", "get", vm, "-o", "json").json["authorizedSshKeys"] == public_key.read_text().strip()
    assert cumulet("vm", "authorize", vm, "--ssh-key-source", "none").code == 0
    assert cumulet("vm", "get", vm, "-o", "json").json["authorizedSshKeys"] == ""


def measured(at, **values):
    members = (
        "memory",
        "diskRdBytes",
        "diskRdIops",
        "diskWrBytes",
        "diskWrIops",
        "netRx",
        "netTx",
        "guestPing",
    )
    return dict.fromkeys(members, "0") | {"cpu": 50.0, "timestamp": str(int(at))} | values


def test_what_a_vm_used_is_drawn(cumulet, monkeypatch):
    items = [
        measured(time.time() - 60, memory=str(64 << 20)),
        measured(time.time() - 30, cpu=25.0, guestPing="3"),
    ]
    cumulet("vm", "create", "drawn", "--image", "micro")
    monkeypatch.setattr("cumulet.cli.client.decoded", lambda _: {"items": items})
    heading, cpu, memory, *others = cumulet("vm", "monitor", "drawn", "--last", "10m").out.splitlines()
    assert heading.split()[-2:] == ["MOST", "NOW"]
    assert re.fullmatch(r"cpu +█ *▅ +50 % +25 %", cpu)
    assert re.fullmatch(r"memory .* 64 MiB +0 B", memory)
    assert re.fullmatch(r"guest latency .* 3 ms +3 ms", others[-1])
    assert cumulet("vm", "monitor", "drawn", "-o", "json").json == items


def test_of_a_vm_that_has_not_run_nothing_is_drawn(cumulet):
    cumulet("vm", "create", "unmeasured", "--image", "micro")
    assert (
        "there are no measurements of unmeasured"
        in cumulet("vm", "monitor", "unmeasured", "--last", "1m").out
    )
    assert cumulet("vm", "monitor", "nobody").code == 3
    assert cumulet("vm", "monitor", "unmeasured", "--last", "soon").code == 2


def test_a_drawing_puts_each_value_where_its_time_is():
    points = [(100, 1.0), (104, 3.0), (109, 8.0)]
    assert spread(points, begin=100, span=10, width=5) == [1.0, None, 3.0, None, 8.0]
    assert bars([0.0, None, 4.0, 8.0]) == "▁ ▅█"
    assert bars([None, 0.0]) == " ▁"
    line = drawing([measured(105)], begin=100, span=10, width=10).splitlines()[1]
    assert re.fullmatch(r"cpu {15,}█ +50 % +50 %", line)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (64 << 20, "64 MiB"), (3 << 50, "3072 TiB")],
)
def test_sizes_are_told_in_their_largest_unit(value, words):
    assert size(value) == words


def shown(**report):
    quiet = {
        "agentAnswers": True,
        "firstBootDone": False,
        "startScriptStatus": None,
        "stage": "",
        "problems": [],
        "log": "",
        "panic": "",
    }
    vm = {"guest": quiet | report}
    return {heading: FACTS[heading](vm) for heading in ("guest", "trouble", "first boot")}


def test_a_guest_that_boots_is_shown_with_its_stage_and_last_line():
    told = shown(stage="running its start script", log="one\ntwo")
    assert told == {
        "guest": "agent answers, running its start script",
        "trouble": "",
        "first boot": "two",
    }


def test_what_went_wrong_in_a_guest_is_shown():
    told = shown(
        firstBootDone=True, startScriptStatus=127, log="no-such-program: not found", problems=["a", "b"]
    )
    assert told["guest"].endswith("first boot done, start script ended with 127")
    assert (told["trouble"], told["first boot"]) == ("a; b", "no-such-program: not found")
    assert shown(panic="VFS: no root", problems=["a"])["trouble"] == "kernel panic: VFS: no root; a"


def test_of_a_guest_that_is_well_nothing_is_shown_besides():
    assert shown(firstBootDone=True, startScriptStatus=0, log="hello")["first boot"] == ""


def test_a_protected_vm_is_kept_and_shown_as_such_until_that_is_lifted(cumulet, vm):
    assert cumulet("vm", "protect", vm).code == 0
    assert re.search("^protected +from deletion$", cumulet("vm", "get", vm).out, re.MULTILINE)
    assert PROTECTED in cumulet("vm", "delete", vm).err
    assert cumulet("vm", "unprotect", vm).code == 0
    assert cumulet("vm", "delete", vm).code == 0


def test_a_vm_is_committed_at_its_making_or_later_and_shows_until_when(cumulet, vm):
    assert cumulet("vm", "commit", vm, "3-months").code == 0
    assert re.search("^committed +until 20", cumulet("vm", "get", vm).out, re.MULTILINE)
    assert "its commitment ends at" in cumulet("vm", "delete", vm).err
    committed = cumulet(
        "vm", "create", "committed", "--image", "micro", "--commitment", "1-month", "-o", "json"
    )
    assert committed.json["commitmentTerm"] == "COMMITMENT_TERM_1_MONTH"
    assert cumulet("vm", "commit", vm, "2-months").code == 2


def test_prices_are_listed_by_term(cumulet):
    heading, *lines = (line.split() for line in cumulet("machine-type", "prices").out.splitlines())
    assert heading[-4:] == ["TERM", "VCPU/HOUR", "GIB/HOUR", "GPU/HOUR"]
    assert [line[2:] for line in lines[:2]] == [
        ["none", "0.0021", "0.0035"],
        ["1-month", "0.001995", "0.003325"],
    ]
    assert len(lines) == 8
