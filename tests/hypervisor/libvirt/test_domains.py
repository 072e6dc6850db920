import libvirt
import pytest

from cumulet.hypervisor import OffReason, Power
from cumulet.hypervisor.libvirt import going_down
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


@pytest.fixture
def qemu(monkeypatch):
    """A QEMU that gives an answer, or the error that libvirt gives in its place; and what it was asked."""
    asked = []

    def make(answer):
        def command(domain, question, flags):
            asked.append((domain, question, flags))
            if isinstance(answer, int):
                error = libvirt.libvirtError("no answer")
                error.err = (answer, 0, "no answer", 2, "", None, None, 0, 0)
                raise error
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
