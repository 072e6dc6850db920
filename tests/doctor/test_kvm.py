import os
import signal
import subprocess
from pathlib import Path

import pytest

from cumulet.doctor import kvm
from cumulet.doctor.kvm import KvmVerdict, kvm_worked, kvm_works, run_guest


def test_the_guest_leaves_where_its_accelerator_works():
    assert run_guest("tcg", timeout=30) == KvmVerdict(works=True)


def test_a_guest_that_gets_nowhere_is_given_up(monkeypatch):
    endless = bytes.fromhex("ebfe") * (kvm.FIRMWARE_BYTES // 2)
    monkeypatch.setattr(kvm, "probe_firmware", lambda: endless)
    verdict = run_guest("tcg", timeout=0.5)
    assert verdict == KvmVerdict(
        works=False, reason="/dev/kvm opens, but a guest does not run (tried for 0.5 s)"
    )


def test_what_qemu_says_against_an_accelerator_is_the_reason():
    verdict = run_guest("nonsense", timeout=10)
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
            processes.append(self)
            waits.append(timeout)
            raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(kvm.subprocess, "Popen", Unkillable)
    with Path(os.devnull).open("w") as words:
        assert kvm.exit_code_within(0.1, ("sleep", "60"), words) is None
    assert None not in waits
    assert os.waitpid(processes[0].pid, 0)[1] == signal.SIGKILL
    processes[0].returncode = -signal.SIGKILL


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
