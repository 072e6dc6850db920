from uuid import uuid4

import libvirt
import pytest

from cumulet.hypervisor import HypervisorError, OffReason, Power
from cumulet.hypervisor.libvirt import domains, going_down
from cumulet.hypervisor.libvirt.domain_xml import Mark
from cumulet.hypervisor.libvirt.domains import off_reason, power_of
from cumulet.hypervisor.libvirt.going_down import goes_down

OFF = libvirt.VIR_DOMAIN_SHUTOFF
PAUSED = libvirt.VIR_DOMAIN_PAUSED
NEVER_RAN = Mark("digest", "tcg kernel", started=0)
RAN = Mark("digest", "tcg kernel", started=77)


@pytest.mark.parametrize(
    ("state", "reason", "mark", "expected"),
    [
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, RAN, OffReason.GUEST_SHUTDOWN),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, RAN, OffReason.DESTROYED),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, RAN, OffReason.CRASHED),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, RAN, OffReason.NONE),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_DAEMON, RAN, OffReason.CRASHED),
        (libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_CRASHED_PANICKED, RAN, OffReason.CRASHED),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN, RAN, OffReason.UNKNOWN),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN, NEVER_RAN, OffReason.NONE),
    ],
)
def test_why_a_machine_is_off(state, reason, mark, expected):
    assert off_reason(state, reason, mark, lambda: False) is expected


def test_a_guest_that_is_off_while_its_host_is_shut_down_was_shut_down_by_that():
    words = [
        off_reason(OFF, reason, RAN, lambda: True)
        for reason in (libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
    ]
    assert words == [OffReason.HOST_SHUTDOWN, OffReason.CRASHED]


@pytest.mark.parametrize(("said", "expected"), [("stopping", True), ("running", False), ("degraded", False)])
def test_systemd_tells_whether_its_machine_is_being_shut_down(tmp_path, monkeypatch, said, expected):
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\ntest "$1" = is-system-running && echo {said}\n')
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not goes_down()  # where systemd is not the init
    monkeypatch.setattr(going_down, "SYSTEMD", tmp_path)
    assert goes_down() is expected
    monkeypatch.setenv("PATH", "/nowhere")
    assert not goes_down()


def an_error(code):
    error = libvirt.libvirtError("no answer")
    error.err = (code, 0, "no answer", 2, "", None, None, 0, 0)
    return error


@pytest.fixture
def qemu(monkeypatch):
    """A QEMU that gives an answer, or the error that libvirt gives in its place; and what it was asked."""
    asked = []

    def make(answer):
        def command(domain, question, flags):
            asked.append((domain, question, flags))
            if isinstance(answer, int):
                raise an_error(answer)
            return answer

        monkeypatch.setattr("libvirt_qemu.qemuMonitorCommand", command)
        return asked

    return make


def status(word):
    return f'{{"return":{{"status":"{word}","singlestep":false,"running":false}},"id":"libvirt-42"}}'


@pytest.mark.parametrize(
    ("reason", "answer", "expected"),
    [
        (libvirt.VIR_DOMAIN_PAUSED_UNKNOWN, status("internal-error"), Power.FAULTED),
        (libvirt.VIR_DOMAIN_PAUSED_UNKNOWN, status("paused"), Power.PAUSED),
        (libvirt.VIR_DOMAIN_PAUSED_UNKNOWN, libvirt.VIR_ERR_OPERATION_INVALID, Power.PAUSED),
        (libvirt.VIR_DOMAIN_PAUSED_UNKNOWN, libvirt.VIR_ERR_OPERATION_TIMEOUT, Power.PAUSED),
    ],
)
def test_a_machine_that_a_fault_stopped_is_told_from_one_that_somebody_paused(qemu, reason, answer, expected):
    asked = qemu(answer)
    assert power_of("domain", PAUSED, reason) is expected
    assert asked == [("domain", '{"execute": "query-status"}', 0)]


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, Power.PAUSED),
        (PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, Power.PAUSED_ON_IO_ERROR),
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED, Power.RUNNING),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN, Power.OFF),
    ],
)
def test_what_libvirt_has_a_word_for_no_qemu_is_asked(qemu, state, reason, expected):
    asked = qemu(status("internal-error"))
    assert (power_of("domain", state, reason), asked) == (expected, [])


def test_what_libvirt_refuses_of_a_machine_s_qemu_is_not_hidden(qemu):
    qemu(libvirt.VIR_ERR_INTERNAL_ERROR)
    with pytest.raises(libvirt.libvirtError):
        power_of("domain", PAUSED, libvirt.VIR_DOMAIN_PAUSED_UNKNOWN)


class Leaving:
    """A machine that is still leaving for some looks, and the connection and the link that know it."""

    def __init__(self, looks, *, too_late=False):
        self.looks, self.too_late = looks, too_late
        self.aborted = 0

    def call(self, work):
        return work(self)

    def lookupByUUID(self, _id):  # noqa: N802 - libvirt's name
        return self

    def isActive(self):  # noqa: N802 - libvirt's name
        return True

    def jobStats(self):  # noqa: N802 - libvirt's name
        self.looks -= 1
        return {"type": libvirt.VIR_DOMAIN_JOB_NONE if self.looks < 0 else libvirt.VIR_DOMAIN_JOB_UNBOUNDED}

    def abortJob(self):  # noqa: N802 - libvirt's name
        self.aborted += 1
        if self.too_late:
            raise an_error(libvirt.VIR_ERR_OPERATION_INVALID)


@pytest.mark.parametrize(("looks", "too_late"), [(0, False), (3, False), (3, True)])
def test_a_machine_that_is_to_end_what_it_is_at_is_waited_for(looks, too_late):
    machine = Leaving(looks, too_late=too_late)
    domains.end_job(machine, uuid4())
    assert (machine.aborted, machine.looks) == (looks, -1)


def test_one_that_does_not_end_what_it_is_at_is_told(monkeypatch):
    monkeypatch.setattr(domains, "JOB_ENDS_SECONDS", 0.2)
    with pytest.raises(HypervisorError, match="did not end in"):
        domains.end_job(Leaving(1000), uuid4())
