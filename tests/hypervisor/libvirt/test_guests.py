import json

import pytest
from tests.hypervisor.libvirt.peers import NOTHING, agent, peer, with_files

from cumulet.hypervisor import NO_GUEST, Guest
from cumulet.hypervisor.libvirt import guests
from cumulet.hypervisor.libvirt.nocloud import FIRST_BOOT_DONE, SCRIPT_LOG, SCRIPT_STATUS

FRESH = Guest(agent=True, first_boot_done=False, start_script_status=None)
DONE = Guest(agent=True, first_boot_done=True, start_script_status=None)


@pytest.fixture
def ask(agents_of, vm_id):
    """Asks a guest that has these files, and answers what is given here in place of the truth."""

    def ask_guest(files, **answers):
        agents, path = agents_of()
        with peer(path, agent(with_files(files, **answers))):
            return guests.ask_guest(agents, vm_id)

    return ask_guest


def test_a_guest_tells_how_far_its_first_boot_is(ask):
    assert ask({}) == FRESH
    assert ask({SCRIPT_STATUS: b"0\n"}) == FRESH
    assert ask({FIRST_BOOT_DONE: b""}) == DONE
    assert ask({FIRST_BOOT_DONE: b"", SCRIPT_STATUS: b"7\n"}).start_script_status == 7


@pytest.mark.parametrize("written", [b"", b"-1", b"256", b"9" * 100, b"\xff\x00", "٣".encode()])
def test_what_is_no_exit_status_is_not_believed(ask, written):
    assert ask({FIRST_BOOT_DONE: b"", SCRIPT_STATUS: written}) == DONE


def test_an_agent_that_falls_silent_is_no_error(ask, monkeypatch):
    monkeypatch.setattr(guests, "AGENT_SECONDS", 0.3)
    assert ask({}, **{"guest-file-open": NOTHING}) == NO_GUEST


@pytest.mark.parametrize(
    "nonsense",
    [b"\n", b"{\n", b"[]\n", b'{"return": "x"}\n', b'{"return": {"buf-b64": "%%"}}\n', b'{"return": 1e99}\n'],
)
def test_an_agent_that_talks_nonsense_is_not_believed(ask, nonsense):
    assert ask({FIRST_BOOT_DONE: b""}, **{"guest-file-open": nonsense}) == FRESH
    assert ask({FIRST_BOOT_DONE: b""}, **{"guest-file-read": nonsense}) == FRESH


def cloud_init(**status):
    return {guests.CLOUD_INIT_STATUS: json.dumps({"v1": status}).encode()}


def test_a_guest_tells_where_its_first_boot_is(ask):
    assert ask(cloud_init(stage="init-local")).stage == "init-local"
    assert ask(cloud_init(stage=None)).stage == ""
    assert ask(cloud_init(stage="\0" + "x" * 1000)).stage == "x" * (guests.LONGEST_STAGE - 1)
    assert ask(cloud_init(stage="modules-final") | {SCRIPT_LOG: b""}).stage == "start-script"
    assert ask(cloud_init(stage="modules-final") | {FIRST_BOOT_DONE: b""}).stage == ""


def test_what_cloud_init_complains_of_is_read_from_all_its_stages_and_bounded(ask):
    stages = {"init-local": {"errors": ["a"]}, "init": {}, "modules-final": {"errors": ["b" * 1000] * 50}}
    problems = ask(cloud_init(stage=None, datasource="x", **stages)).problems
    assert problems[:2] == ("a", "b" * guests.LONGEST_PROBLEM)
    assert len(problems) == guests.MOST_PROBLEMS


@pytest.mark.parametrize(
    "status", [b"", b"[]", b"{}", b"\xff", b'{"v1": {"init": {"errors": [1]}}}', b'{"v1": 3}']
)
def test_a_status_that_is_none_is_not_believed(ask, status):
    seen = ask({guests.CLOUD_INIT_STATUS: status})
    assert (seen.agent, seen.stage, seen.problems) == (True, "", ())


def test_of_a_log_the_last_whole_lines_are_shown(ask):
    assert ask({SCRIPT_LOG: b"one\ntwo\n"}).log == "one\ntwo"
    long = b"".join(b"line %04d\n" % number for number in range(1000))
    shown = ask({SCRIPT_LOG: long}).log
    assert shown.splitlines()[0].startswith("line 08")
    assert shown.endswith("line 0999")
    assert len(shown) < guests.LOG_BYTES
    assert ask({guests.CLOUD_INIT_LOG: b"of cloud-init"}).log == "of cloud-init"
    assert ask({SCRIPT_LOG: b"\xff\x00a"}).log == "\ufffda"


@pytest.mark.parametrize(
    ("nics", "found"),
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
def test_a_guest_tells_whether_it_has_an_address(ask, nics, found):
    assert ask({}, **{"guest-network-get-interfaces": nics}).has_address is found
