import json
from base64 import b64encode
from uuid import uuid4

import libvirt
import pytest

from cumulet.hypervisor import NO_GUEST, Guest
from cumulet.hypervisor.libvirt import guest
from cumulet.hypervisor.libvirt.seed import FIRST_BOOT_DONE, SCRIPT_LOG, SCRIPT_STATUS

FRESH = Guest(agent=True, first_boot_done=False, start_script_status=None)
DONE = Guest(agent=True, first_boot_done=True, start_script_status=None)


class Link:
    def lookupByUUID(self, _id):  # noqa: N802 - libvirt's name
        return None


def refusal(code):
    error = libvirt.libvirtError("")
    error.err = (code, 0, "no")
    return error


@pytest.fixture
def ask(monkeypatch):
    """Asks a guest that has these files, and answers what is given here in place of the truth."""

    def ask_guest(files, **answers):
        sought = {}

        def agent(_domain, question, _patience, _flags):
            asked = json.loads(question)
            command, arguments = asked["execute"], asked.get("arguments", {})
            if command in answers:
                if isinstance(answers[command], Exception):
                    raise answers[command]
                return answers[command]
            if command == "guest-file-open":
                if arguments["path"] not in files:
                    raise refusal(libvirt.VIR_ERR_INTERNAL_ERROR)
                return json.dumps({"return": list(files).index(arguments["path"])})
            if command == "guest-file-read":
                begin = sought.get(arguments["handle"], 0)
                content = list(files.values())[arguments["handle"]][begin:][: arguments["count"]]
                return json.dumps(
                    {"return": {"count": len(content), "buf-b64": b64encode(content).decode(), "eof": True}}
                )
            if command == "guest-file-seek":
                size = len(list(files.values())[arguments["handle"]])
                begin = size if arguments["whence"] == "end" else arguments["offset"]
                sought[arguments["handle"]] = begin
                return json.dumps({"return": {"position": begin, "eof": False}})
            return '{"return": {}}'

        monkeypatch.setattr(guest.libvirt_qemu, "qemuAgentCommand", agent)
        return guest.ask_guest(Link(), uuid4())

    return ask_guest


def test_a_guest_tells_how_far_its_first_boot_is(ask):
    assert ask({}) == FRESH
    assert ask({SCRIPT_STATUS: b"0\n"}) == FRESH
    assert ask({FIRST_BOOT_DONE: b""}) == DONE
    assert ask({FIRST_BOOT_DONE: b"", SCRIPT_STATUS: b"7\n"}).start_script_status == 7


@pytest.mark.parametrize("written", [b"", b"-1", b"256", b"9" * 100, b"\xff\x00", "٣".encode()])
def test_what_is_no_exit_status_is_not_believed(ask, written):
    assert ask({FIRST_BOOT_DONE: b"", SCRIPT_STATUS: written}) == DONE


@pytest.mark.parametrize("code", guest.SILENCE)
def test_a_silent_agent_is_no_error(ask, code):
    assert ask({}, **{"guest-ping": refusal(code)}) == NO_GUEST


@pytest.mark.parametrize(
    "nonsense", ["", "{", "[]", '{"return": "x"}', '{"return": {"buf-b64": "%%"}}', '{"return": 1e99}']
)
def test_an_agent_that_talks_nonsense_is_not_believed(ask, nonsense):
    assert ask({FIRST_BOOT_DONE: b""}, **{"guest-file-open": nonsense}) == FRESH
    assert ask({FIRST_BOOT_DONE: b""}, **{"guest-file-read": nonsense}) == FRESH
    assert ask({}, **{"guest-ping": nonsense}) in {NO_GUEST, FRESH}


def test_what_libvirt_fails_at_is_an_error(ask):
    with pytest.raises(libvirt.libvirtError):
        ask({}, **{"guest-ping": refusal(libvirt.VIR_ERR_NO_MEMORY)})


def cloud_init(**status):
    return {guest.CLOUD_INIT_STATUS: json.dumps({"v1": status}).encode()}


def test_a_guest_tells_where_its_first_boot_is(ask):
    assert ask(cloud_init(stage="init-local")).stage == "init-local"
    assert ask(cloud_init(stage=None)).stage == ""
    assert ask(cloud_init(stage="\0" + "x" * 1000)).stage == "x" * (guest.LONGEST_STAGE - 1)
    assert ask(cloud_init(stage="modules-final") | {SCRIPT_LOG: b""}).stage == "start-script"
    assert ask(cloud_init(stage="modules-final") | {FIRST_BOOT_DONE: b""}).stage == ""


def test_what_cloud_init_complains_of_is_read_from_all_its_stages_and_bounded(ask):
    stages = {"init-local": {"errors": ["a"]}, "init": {}, "modules-final": {"errors": ["b" * 1000] * 50}}
    problems = ask(cloud_init(stage=None, datasource="x", **stages)).problems
    assert problems[:2] == ("a", "b" * guest.LONGEST_PROBLEM)
    assert len(problems) == guest.MOST_PROBLEMS


@pytest.mark.parametrize(
    "status", [b"", b"[]", b"{}", b"\xff", b'{"v1": {"init": {"errors": [1]}}}', b'{"v1": 3}']
)
def test_a_status_that_is_none_is_not_believed(ask, status):
    seen = ask({guest.CLOUD_INIT_STATUS: status})
    assert (seen.agent, seen.stage, seen.problems) == (True, "", ())


def test_of_a_log_the_last_whole_lines_are_shown(ask):
    assert ask({SCRIPT_LOG: b"one\ntwo\n"}).log == "one\ntwo"
    long = b"".join(b"line %04d\n" % number for number in range(1000))
    shown = ask({SCRIPT_LOG: long}).log
    assert shown.splitlines()[0].startswith("line 08")
    assert shown.endswith("line 0999")
    assert len(shown) < guest.LOG_BYTES
    assert ask({guest.CLOUD_INIT_LOG: b"of cloud-init"}).log == "of cloud-init"
    assert ask({SCRIPT_LOG: b"\xff\x00a"}).log == "\ufffda"


@pytest.mark.parametrize(
    ("cards", "found"),
    [
        ([{"name": "lo", "ip-addresses": [{"ip-address": "10.0.0.1"}]}], False),
        ([{"name": "eth0"}], False),
        ([{"name": "eth0", "ip-addresses": [{"ip-address": "fda0:97d3:f4b1::3"}]}], False),
        (
            [{"name": "eth0", "ip-addresses": [{"ip-address": "fe80::1"}, {"ip-address": "169.254.3.4"}]}],
            False,
        ),
        ([{"name": "eth0", "ip-addresses": [{"ip-address": "10.0.0.3", "prefix": 24}]}], True),
        ("nonsense", None),
    ],
)
def test_a_guest_tells_whether_it_has_an_address(ask, cards, found):
    assert ask({}, **{"guest-network-get-interfaces": json.dumps({"return": cards})}).has_address is found
