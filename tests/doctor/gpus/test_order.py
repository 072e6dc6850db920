"""When a host without systemd keeps its GPUs for VMs."""

import pytest

from cumulet.doctor import prepare
from cumulet.doctor.kvm import KvmVerdict


class Enough(Exception):
    """Daemons would start now."""


@pytest.mark.parametrize(("systemd", "kept"), [(False, ["kept"]), (True, [])])
def test_gpus_are_kept_before_libvirt_starts_where_no_unit_does_it(monkeypatch, systemd, kept):
    done = []

    def start(**_):
        raise Enough

    monkeypatch.setattr(prepare, "require_root", lambda _: None)
    monkeypatch.setattr(prepare, "find_missing", lambda _: [])
    monkeypatch.setattr(prepare, "kvm_worked", lambda _: KvmVerdict(works=True))
    monkeypatch.setattr(prepare, "choose_datapath", lambda: "system")
    monkeypatch.setattr(prepare, "integration_command", lambda *_: ())
    monkeypatch.setattr(prepare, "propose_chassis", lambda: "")
    monkeypatch.setattr(prepare, "runs_systemd", lambda: systemd)
    monkeypatch.setattr(prepare, "keep_gpus", lambda: done.append("kept"))
    monkeypatch.setattr(prepare, "start_daemons", start)
    with pytest.raises(Enough):
        prepare.prepare_host()
    assert done == kept
