import re

import pytest
from tests.words import NO_CAPACITY


def test_a_created_vm_is_waited_for_with_each_step_on_stderr(cumulet):
    done = cumulet("vm", "create", "steps", "--image", "micro", "--wait")
    assert done.code == 0
    assert re.search(r"\d+\.\d s  started", done.err)
    assert re.search(r"\d+\.\d s  first boot finished", done.err)
    assert re.search(r"^steps is ready after \d+\.\d s$", done.err, re.MULTILINE)
    assert re.search(r"^state +ACTIVE$", done.out, re.MULTILINE)


def test_without_waiting_a_create_answers_at_once(cumulet):
    done = cumulet("vm", "create", "at-once", "--image", "micro", "--ssh-key-source", "none", "-o", "json")
    assert (done.code, done.err) == (0, "")
    assert done.json["state"] == "PENDING"


def test_a_vm_goes_through_its_life(cumulet):
    cumulet("vm", "create", "life", "--image", "micro", "--wait")
    assert "life stopped after" in cumulet("vm", "stop", "life", "--wait").err
    assert cumulet("vm", "get", "life", "-o", "json").json["state"] == "STOPPED"
    assert "life is running after" in cumulet("vm", "start", "life", "--wait").err
    assert "life restarted after" in cumulet("vm", "reboot", "life", "--wait").err
    assert "life is deleted after" in cumulet("vm", "delete", "life", "--wait").err
    assert cumulet("vm", "get", "life").code == 3


def test_the_same_can_be_asked_of_several_vms(cumulet):
    for name in ("one-of-two", "two-of-two"):
        cumulet("vm", "create", name, "--image", "micro")
    assert cumulet("vm", "delete", "one-of-two", "two-of-two", "--wait").code == 0
    listed = cumulet("vm", "list", "-o", "name").out.split()
    assert not {"one-of-two", "two-of-two"} & set(listed)


def test_a_list_is_a_table_json_yaml_or_names(cumulet):
    cumulet("vm", "create", "listed", "--image", "micro", "--wait")
    heading, *lines = cumulet("vm", "list").out.splitlines()
    assert heading.split()[:3] == ["NAME", "STATE", "IMAGE"]
    assert any(line.split()[:3] == ["listed", "ACTIVE", "micro"] for line in lines)
    assert "listed" in [vm["id"] for vm in cumulet("vm", "list", "-o", "json").json]
    assert "  id: listed\n" in cumulet("vm", "list", "-o", "yaml").out
    assert "listed" in cumulet("vm", "list", "-o", "name").out.splitlines()
    assert int(cumulet("vm", "count").out) == len(cumulet("vm", "list", "-o", "name").out.split())


def test_a_list_can_be_of_those_with_some_labels(cumulet):
    for name, label in (("blue-1", "team=blue"), ("red-1", "team=red")):
        cumulet("vm", "create", name, "--image", "micro", "--metadata", label, "--metadata", "kind=labelled")

    def listed(*words):
        return cumulet("vm", "list", "-o", "name", *words).out.split()

    assert listed("-l", "team=blue,kind") == ["blue-1"]
    assert listed("-l", "kind=labelled", "--label", "team") == ["blue-1", "red-1"]
    assert listed("-l", "team=green") == []
    assert cumulet("vm", "list", "-l", "=x").code == 2


def test_a_wide_list_tells_more(cumulet):
    cumulet("vm", "create", "wide", "--image", "micro", "--metadata", "team=blue")
    told = cumulet("vm", "list", "-o", "wide").out
    assert told.splitlines()[0].split()[-2:] == ["LABELS", "CREATED"]
    assert "team=blue" in told
    chosen = cumulet("vm", "list", "--columns", "labels,name", "--no-header").out
    assert ["team=blue", "wide"] in [line.split() for line in chosen.splitlines()]


def test_a_vm_that_nobody_can_enter_is_told_of(cumulet, tmp_path, public_key):
    keys = ("--ssh-key", str(public_key))
    password = tmp_path / "password"
    password.write_text("Corr3ct-horse")
    for number, words in enumerate((keys, ("--ssh-key-source", "none"), ("--password-file", str(password)))):
        assert cumulet("vm", "create", f"entered-{number}", "--image", "micro", *words).err == ""
    public_key.unlink()
    warned = cumulet("vm", "create", "locked", "--image", "micro")
    assert warned.code == 0
    assert "nobody can log in to locked by SSH" in warned.err
    assert "cumulet vm authorize locked --ssh-key FILE" in warned.err


def test_a_vm_is_shown_without_what_is_empty(cumulet):
    cumulet("vm", "create", "shown", "--image", "micro", "--wait", "--metadata", "team=blue")
    facts = dict(
        re.split(r"  +", line, maxsplit=1) for line in cumulet("vm", "get", "shown").out.splitlines()
    )
    assert facts["size"] == "1 vCPU, 1 GiB memory, 10 GiB disk"
    assert facts["metadata"] == "team=blue"
    assert facts["guest"] == "agent answers, first boot done"
    assert "problem" not in facts


def test_a_timeline_tells_each_step_with_its_time(cumulet):
    cumulet("vm", "create", "told", "--image", "micro", "--wait")
    heading, first, *others = cumulet("vm", "timeline", "told").out.splitlines()
    assert heading.split() == ["TIME", "STEP", "WHO", "WHAT"]
    assert "image micro" in first
    assert any(re.search(r" \d+\.\d s  cumulet +started$", line) for line in others)
    events = [entry["event"] for entry in cumulet("vm", "timeline", "told", "-o", "json").json]
    assert events[0] == "vm.create_requested"


def test_the_console_log_is_printed_without_what_speaks_to_terminals(cumulet, monkeypatch):
    cumulet("vm", "create", "talks", "--image", "micro", "--wait")
    assert "talks" in cumulet("vm", "log", "talks").out
    monkeypatch.setattr("cumulet.cli.client.decoded", lambda _: {"text": "\x1b]0;owned\x07hello\r\n"})
    assert cumulet("vm", "log", "talks").out == "]0;ownedhello\n"
    assert cumulet("vm", "log", "talks", "--raw").out == "\x1b]0;owned\x07hello\r\n"


def test_a_start_script_that_fails_fails_the_wait(cumulet):
    done = cumulet("vm", "create", "script", "--image", "micro", "--start-script", "exit 7", "--wait")
    assert done.code == 1
    assert "the start script of VM 'script' exited with status 7" in done.err
    assert "cumulet vm log script" in done.err


def test_validating_creates_nothing_and_tells_the_price(cumulet):
    done = cumulet("vm", "create", "priced", "--image", "micro", "--vcpus", "2", "--validate-only")
    assert done.code == 0
    assert re.fullmatch(r"valid; priced would cost 0\.\d+ an hour\n", done.out)
    assert cumulet("vm", "get", "priced").code == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["vm", "get", "nobody"], 3, "there is no VM 'nobody'"),
        (["vm", "create", "Big"], 2, "vmId: 'Big' is not accepted"),
        (["vm", "create", "huge", "--vcpus", "200", "--memory", "200"], 4, NO_CAPACITY),
        (["vm", "create", "x", "--image", "nothing"], 3, "there is no image 'nothing'"),
        (["vm", "list", "--project", "theirs"], 3, "there is no project 'theirs'"),
        (["vm", "create", "x", "--ttl", "soon"], 2, "--ttl: 'soon' is not accepted"),
        (["vm", "create", "x", "--topology", "2"], 2, "SOCKETSxCORESxTHREADS"),
        (["vm", "create", "x", "--topology", "1x2x\u0661"], 2, "SOCKETSxCORESxTHREADS"),
        (["vm", "create", "x", "--metadata", "blue"], 2, "KEY=VALUE"),
        (["vm", "create", "x", "--data-center", "moon"], 3, "'moon'"),
        (["vm", "list", "-o", "poem"], 2, "poem"),
        (["vm", "dance"], 2, "dance"),
    ],
)
def test_a_refusal_has_words_and_an_exit_code(cumulet, words, code, said):
    done = cumulet(*words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_a_project_can_be_named_once_for_all(cumulet, monkeypatch):
    monkeypatch.setenv("CUMULET_PROJECT", "theirs")
    assert cumulet("vm", "list").code == 3
    assert cumulet("vm", "list", "--project", "default").code == 0
