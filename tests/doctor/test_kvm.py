import os
import signal
import subprocess
import sys

import pytest
from tests.waiting import eventually, is_alive

from cumulet.doctor import kvm
from cumulet.doctor.kvm import KvmVerdict, kvm_worked, kvm_works, probe_firmware, run_guest

ENDLESS = bytes.fromhex("ebfe") * (kvm.FIRMWARE_BYTES // 2)
"""Firmware that gets nowhere."""


def test_the_guest_leaves_where_its_accelerator_works():
    assert run_guest("tcg", soon=30) == KvmVerdict(works=True)


def firmwares(monkeypatch, *images):
    """Have the guests that are started run these, one after the other."""
    rest = iter(images)
    monkeypatch.setattr(kvm, "probe_firmware", lambda: next(rest))


def test_a_guest_that_is_not_out_when_an_emulated_one_is_is_given_up(monkeypatch):
    firmwares(monkeypatch, ENDLESS, probe_firmware())
    verdict = run_guest("tcg", soon=0.1)
    assert not verdict.works
    assert verdict.reason.startswith("/dev/kvm opens, but a guest does not run (tried for ")


def test_a_guest_that_is_late_works_when_an_emulated_one_is_later(monkeypatch):
    firmwares(monkeypatch, probe_firmware(), ENDLESS)
    assert run_guest("tcg", soon=0) == KvmVerdict(works=True)


def test_where_an_emulated_guest_gets_nowhere_either_it_is_given_up_in_the_end(monkeypatch):
    firmwares(monkeypatch, ENDLESS, ENDLESS)
    monkeypatch.setattr(kvm, "LONGEST_SECONDS", 0.3)
    assert not run_guest("tcg", soon=0.1).works


def test_what_qemu_says_against_an_accelerator_is_the_reason():
    verdict = run_guest("nonsense", soon=10)
    assert not verdict.works
    assert "nonsense" in verdict.reason


def test_no_device_needs_no_guest(monkeypatch, tmp_path):
    monkeypatch.setattr(kvm, "DEVICE", tmp_path / "kvm")
    assert kvm_works() == KvmVerdict(works=False, reason=f"there is no {tmp_path}/kvm")


def test_a_hung_process_is_killed_but_never_waited_for(monkeypatch):
    waits = []
    processes = []

    class Unkillable(subprocess.Popen):
        def wait(self, timeout=None):
            waits.append(timeout)
            raise subprocess.TimeoutExpired(self.args, timeout)

    def start(argv, **options):
        processes.append(Unkillable(("sleep", "60"), **options))
        return processes[-1]

    monkeypatch.setattr(kvm.subprocess, "Popen", start)
    monkeypatch.setattr(kvm, "LONGEST_SECONDS", 0.1)
    assert not run_guest("kvm", soon=0.1).works
    assert None not in waits
    for process in processes:
        assert os.waitpid(process.pid, 0)[1] == signal.SIGKILL
        process.returncode = -signal.SIGKILL


STARTS_ONE = """
from time import sleep
from cumulet.doctor import kvm
kvm.probe_firmware = lambda: bytes.fromhex("ebfe") * (kvm.FIRMWARE_BYTES // 2)
with kvm.started_guest("tcg") as guest:
    print(guest.process.pid, flush=True)
    sleep(600)
"""
"""Starts a guest that gets nowhere, and tells its process."""


def test_a_guest_ends_with_whoever_started_it():
    with subprocess.Popen((sys.executable, "-c", STARTS_ONE), stdout=subprocess.PIPE, text=True) as starter:
        guest = int(starter.stdout.readline())
        assert is_alive(guest)
        starter.kill()
    eventually(lambda: not is_alive(guest))


@pytest.fixture
def verdicts(monkeypatch, tmp_path):
    """A machine whose probe tells what is put here."""
    told = [KvmVerdict(works=True)]
    monkeypatch.setattr(kvm, "DEVICE", tmp_path)
    monkeypatch.setattr(kvm, "run_guest", lambda *_: told[0])
    return told


def test_a_verdict_is_remembered(verdicts, tmp_path):
    assert kvm_worked(tmp_path) is None
    kvm_works(remember_in=tmp_path)
    assert kvm_worked(tmp_path) == KvmVerdict(works=True)


def test_a_verdict_of_another_boot_or_qemu_is_forgotten(verdicts, tmp_path, monkeypatch):
    kvm_works(remember_in=tmp_path)
    monkeypatch.setattr(kvm, "describe_machine", lambda: "another boot")
    assert kvm_worked(tmp_path) is None


def test_a_new_probe_replaces_what_was_remembered(verdicts, tmp_path):
    kvm_works(remember_in=tmp_path)
    verdicts[0] = KvmVerdict(works=False, reason="slow")
    kvm_works(remember_in=tmp_path)
    assert kvm_worked(tmp_path) == KvmVerdict(works=False, reason="slow")


def test_half_a_memory_is_no_memory(tmp_path):
    (tmp_path / "kvm.json").write_text('{"key": "')
    assert kvm_worked(tmp_path) is None
