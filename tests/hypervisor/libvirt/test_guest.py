import json
from base64 import b64encode
from uuid import uuid4

import libvirt
import pytest

from cumulet.hypervisor import NO_GUEST, Guest
from cumulet.hypervisor.libvirt import guest
from cumulet.hypervisor.libvirt.seed import FIRST_BOOT_DONE, SCRIPT_STATUS

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
                content = list(files.values())[arguments["handle"]][: arguments["count"]]
                return json.dumps(
                    {"return": {"count": len(content), "buf-b64": b64encode(content).decode(), "eof": True}}
                )
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
